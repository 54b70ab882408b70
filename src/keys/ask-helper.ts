import { join } from 'node:path'
import type { KeySettings } from '../settings.ts'
import type { KeyOutcome } from './key-source.ts'
import { KEY_BYTES } from './key-text.ts'
import { environmentWithoutUs, packageFolder } from './outside.ts'

/** What the helper process (`helper.ts`) can be asked to do. */
export type HelperTask = 'fetch'

/** Milliseconds after which the helper is killed: more than any source gives itself. */
const TIME_LIMIT = 12_000

/**
 * Has a key task done in a process of its own, and waits for it. For callers that cannot wait by events, and
 * for sources that can answer only so. The settings go there by standard input, the keys come back by
 * standard output: both are pipes between two processes of one user.
 */
export function askHelper(task: HelperTask, settings: KeySettings, now: number): KeyOutcome {
  const { spawnSync } = require('node:child_process') as typeof import('node:child_process')
  const file = helperFile()
  if (file === undefined) return failed(settings, 'the files of ticketkeep are not where they were installed')
  const { NODE_OPTIONS: _, ...env } = environmentWithoutUs()
  const { stdout, status, error } = spawnSync(process.execPath, [file], {
    input: JSON.stringify({ task, settings, now }),
    env: { ...env, ELECTRON_RUN_AS_NODE: '1' },
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: TIME_LIMIT,
    killSignal: 'SIGKILL',
    windowsHide: true,
  })
  if (error || status !== 0) {
    stdout?.fill(0)
    return failed(
      settings,
      error ? `the helper process failed (${error.message})` : 'the helper process failed',
    )
  }
  try {
    return decodeOutcome(stdout)
  } catch {
    return failed(settings, 'the helper process gave no answer')
  } finally {
    stdout.fill(0)
  }
}

export function helperFile(): string | undefined {
  const folder = packageFolder()
  return folder === undefined ? undefined : join(folder, 'dist', 'key-helper.cjs')
}

/** A line of JSON without the keys, then their bytes, the current one first. */
export function encodeOutcome({ keys, ...outcome }: KeyOutcome): Buffer {
  const { current, previous, createdAt } = keys ?? {}
  const line = JSON.stringify({ ...outcome, createdAt })
  return Buffer.concat([Buffer.from(`${line}\n`), current ?? [], previous ?? []].map((b) => Buffer.from(b)))
}

export function decodeOutcome(bytes: Buffer): KeyOutcome {
  const end = bytes.indexOf(0x0a)
  const { createdAt, ...outcome } = JSON.parse(bytes.toString('utf8', 0, end))
  const keys = bytes.subarray(end + 1)
  if (keys.length % KEY_BYTES !== 0 || keys.length > 2 * KEY_BYTES)
    throw new RangeError('not one or two keys')
  const key = (i: number) => Uint8Array.from(keys.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES))
  const current = keys.length > 0 ? key(0) : undefined
  return {
    ...outcome,
    keys: current && { current, previous: keys.length > KEY_BYTES ? key(1) : undefined, createdAt },
  }
}

function failed({ source }: KeySettings, reason: string): KeyOutcome {
  const name = source === 'auto' ? 'memory' : source
  return {
    source: name,
    keys: undefined,
    creatable: false,
    overdue: false,
    reason,
    considered: [{ source: name, state: 'unavailable', reason }],
  }
}
