// A program of its own (dist/key-helper.cjs): does one key task for a process that cannot wait by events.
import { readFileSync } from 'node:fs'
import { encodeOutcome } from './ask-helper.ts'
import { fetchKeys } from './chain.ts'

const { settings, now } = JSON.parse(readFileSync(0, 'utf8'))

fetchKeys(
  settings,
  (outcome) => {
    const answer = encodeOutcome(outcome)
    process.stdout.write(answer, () => answer.fill(0))
  },
  { hold: true, now },
)
