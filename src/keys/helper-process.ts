import { join } from 'node:path'
import { wipe } from '../common/bytes.ts'
import { environmentWithoutUs, packageFolder } from '../common/package-folder.ts'
import type { KeySettings } from '../settings.ts'
import { allKeys, type KeyOutcome } from './key-source.ts'
import { KEY_BYTES } from './key-text.ts'

/** What the helper process (`helper.ts`) can be asked to do. */
export type HelperTask = 'fetch' | 'create' | 'rotate'

/** Milliseconds after which the helper is killed: more than any source gives itself. */
const TIME_LIMIT = 12_000

/**
 * Has a key task done in a process of its own, and waits for it. For callers that cannot wait by events, and
 * for sources that can answer only so. The settings go there by standard input, the keys come back by
 * standard output: both are pipes between two processes of one user.
 */
export function askHelper(task: HelperTask, settings: KeySettings, now: number): KeyOutcome {
  const { spawnSync } = require('node:child_process') as typeof import('node:child_process')
  const helper = helperProgram()
  if (helper === undefined) return failed(settings.source, MISPLACED)
  const input = Buffer.from(JSON.stringify({ task, settings, now }))
  const { stdout, status, error } = spawnSync(helper.program, helper.args, {
    ...helper.options,
    input,
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: TIME_LIMIT,
    killSignal: 'SIGKILL',
  })
  wipe(input)
  if (error || status !== 0) {
    if (stdout) wipe(stdout)
    return failed(settings.source, `the helper process failed (${error?.message ?? `exit status ${status}`})`)
  }
  return outcomeOf(stdout, settings.source)
}

/**
 * The same without waiting, for what may block on a prompt. The helper is not killed when nobody waits for it
 * any more: a user may be answering, and it ends itself.
 */
export function startHelper(
  task: HelperTask,
  settings: Pick<KeySettings, 'source'>,
  now: number,
  hold: boolean,
  done: (outcome: KeyOutcome) => void,
): void {
  const { spawn } = require('node:child_process') as typeof import('node:child_process')
  const helper = helperProgram()
  const { source } = settings
  if (helper === undefined) {
    done(failed(source, MISPLACED))
    return
  }
  const child = spawn(helper.program, helper.args, {
    ...helper.options,
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const output: Buffer[] = []
  child.on('error', (error) => done(failed(source, `the helper process failed (${error.message})`)))
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
  child.on('close', () => {
    done(outcomeOf(Buffer.concat(output), source))
    for (const chunk of output) wipe(chunk)
  })
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify({ task, settings, now }))
  if (hold) return
  child.unref()
  for (const stream of [child.stdin, child.stdout] as unknown as { unref(): void }[]) stream.unref()
}

const MISPLACED = 'the files of ticketkeep are not where they were installed'

function helperProgram() {
  const folder = packageFolder()
  if (folder === undefined) return undefined
  const { NODE_OPTIONS: _, ...env } = environmentWithoutUs()
  return {
    program: process.execPath,
    args: [join(folder, 'dist', 'key-helper.cjs')],
    options: { env: { ...env, ELECTRON_RUN_AS_NODE: '1' }, windowsHide: true },
  }
}

/** A line of JSON without the keys, then their bytes, the current one first. */
export function encodeOutcome({ keys, ...outcome }: KeyOutcome): Buffer {
  const retiredAt = keys?.previous?.map((one) => one.retiredAt)
  const line = JSON.stringify({ ...outcome, createdAt: keys?.createdAt, retiredAt })
  return Buffer.concat([Buffer.from(`${line}\n`), ...(keys ? allKeys(keys) : [])])
}

export function decodeOutcome(bytes: Buffer): KeyOutcome {
  const end = bytes.indexOf(0x0a)
  const { createdAt, retiredAt = [], ...outcome } = JSON.parse(bytes.toString('utf8', 0, end))
  const keys = bytes.subarray(end + 1)
  if (keys.length === 0) return { ...outcome, keys: undefined }
  if (keys.length !== KEY_BYTES * (1 + retiredAt.length)) throw new RangeError('not as many keys as times')
  const key = (i: number) => Uint8Array.from(keys.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES))
  const previous = retiredAt.map((time: number, i: number) => ({ key: key(i + 1), retiredAt: time }))
  return { ...outcome, keys: { current: key(0), createdAt, previous } }
}

function outcomeOf(output: Buffer, source: KeySettings['source']): KeyOutcome {
  try {
    return decodeOutcome(output)
  } catch {
    return failed(source, 'the helper process gave no answer')
  } finally {
    wipe(output)
  }
}

function failed(source: KeySettings['source'], reason: string): KeyOutcome {
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
