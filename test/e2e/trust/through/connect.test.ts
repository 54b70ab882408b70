// The attacks once more, made through a function of the library in the place of the preload.
process.env.TRUST_THROUGH = 'connect'

await import('../no-offer.test.ts')
await import('../harvest.test.ts')
await import('../third-attack.test.ts')
await import('../fourth-attack.test.ts')
await import('../fifth-attack.test.ts')

export {}
