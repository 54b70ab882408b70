// A separate program (dist/key-helper.cjs). It does one key task for a process that cannot wait asynchronously, or that
// a native call must not block. Its input is one line of JSON. Its output is that of `encodeOutcome`.

import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { wipe } from '../common/bytes.ts'
import type { KeySettings } from '../settings.ts'
import { createKeysSoon, fetchKeys, type KeyTask, rotateKeys } from './chain.ts'
import { encodeOutcome, type HelperTask } from './helper-process.ts'

/** Milliseconds after which it kills itself, even during a native call: long enough to answer a prompt. */
const TIME_LIMIT = 25_000

const watchdog = new Worker(`setTimeout(() => process.kill(process.pid, 'SIGKILL'), ${TIME_LIMIT})`, {
  eval: true,
})
watchdog.unref()

const tasks: Record<HelperTask, KeyTask> = {
  fetch: fetchKeys,
  create: createKeysSoon,
  rotate: rotateKeys,
}
const { task, settings, now }: { task: HelperTask; settings: KeySettings; now: number } = JSON.parse(
  readFileSync(0, 'utf8'),
)

// The parent may have ended, so that nobody reads the answer.
process.stdout.on('error', () => process.exit())

tasks[task](
  settings,
  (outcome) => {
    const answer = encodeOutcome(outcome)
    process.stdout.write(answer, () => {
      wipe(answer)
      process.exit()
    })
  },
  { hold: true, now, direct: true },
)
