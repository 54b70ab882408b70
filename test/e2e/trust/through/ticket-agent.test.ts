// The attacks again, through a function of the library in place of the preload.
process.env.TRUST_THROUGH = 'TicketAgent'

await import('../no-offer.test.ts')
await import('../socket-methods.test.ts')
await import('../connect-wrappers.test.ts')
await import('../changed-options.test.ts')
await import('../changed-process.test.ts')
await import('../refusals.test.ts')

export {}
