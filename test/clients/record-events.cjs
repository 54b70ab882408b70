// Loaded beside ticketkeep: adds what it publishes to a file, a line each.
const { appendFileSync } = require('node:fs')
const { subscribe } = require('node:diagnostics_channel')

const file = process.env.TEST_EVENTS
for (const name of ['offer', 'resumed', 'harvest', 'skip']) {
  subscribe(`ticketkeep:${name}`, ({ reason }) =>
    appendFileSync(file, reason ? `${name}: ${reason}\n` : `${name}\n`),
  )
}
