// The attacks once more, made through a function of the library in the place of the preload.
process.env.TRUST_THROUGH = 'TicketAgent'

await import('../no-offer.test.ts')
await import('../socket-methods.test.ts')
await import('../connect-wrappers.test.ts')
await import('../changed-options.test.ts')
await import('../changed-process.test.ts')

export {}
