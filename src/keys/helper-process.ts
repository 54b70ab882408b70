import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { wipe } from '../common/bytes.ts'
import { unixNow } from '../common/clock.ts'
import { environmentWithoutUs, packageFolder } from '../common/package-folder.ts'
import { plainJson } from '../common/plain-json.ts'
import type { KeySettings } from '../settings.ts'
import { type Asking, allKeys, inWords, type KeyOutcome, outcomeOf } from './key-source.ts'
import { KEY_BYTES } from './key-text.ts'

/** The tasks of the helper process (`helper-main.ts`). */
export type HelperTask = 'fetch' | 'create' | 'rotate'

/** Milliseconds after which the helper is killed: longer than any source's own limit. */
const TIME_LIMIT = 12_000

/**
 * Runs a key task in a separate process and blocks until it ends, for callers that cannot wait asynchronously. The
 * settings are sent through standard input, and the keys come back through standard output. Both are pipes between two
 * processes of one user.
 */
export function askHelper(task: HelperTask, settings: KeySettings): KeyOutcome {
  const { spawnSync } = require('node:child_process') as typeof import('node:child_process')
  const helper = helperProgram()
  if (helper === undefined) return failed(settings.source, MISPLACED)
  const input = Buffer.from(plainJson({ task, settings, now: unixNow() }))
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
  return readOutcome(stdout, settings.source)
}

/**
 * The same without blocking, for a source that may wait for a prompt. The helper is not killed when its caller gives
 * up: a user may be answering the prompt, and the helper ends by itself.
 */
export function startHelper(
  task: HelperTask,
  settings: Pick<KeySettings, 'source'>,
  { now, hold }: Asking,
): Promise<KeyOutcome> {
  const { spawn } = require('node:child_process') as typeof import('node:child_process')
  const helper = helperProgram()
  const { source } = settings
  if (helper === undefined) return Promise.resolve(failed(source, MISPLACED))
  const child = spawn(helper.program, helper.args, {
    ...helper.options,
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  if (!hold) unref(child)
  child.stdin.on('error', () => {})
  child.stdin.end(plainJson({ task, settings, now }))
  return new Promise((done) => {
    const output: Buffer[] = []
    child.on('error', (error) => done(failed(source, `the helper process failed (${error.message})`)))
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    child.on('close', () => {
      done(readOutcome(Buffer.concat(output), source))
      for (const chunk of output) wipe(chunk)
    })
  })
}

/** Runs a task in a helper that outlives this process. Also works while the process is exiting. */
export function leaveToHelper(task: HelperTask, settings: KeySettings, now: number): void {
  const { signal } = new AbortController()
  void startHelper(task, settings, { hold: false, now, signal })
}

/** Stops the child and its pipes from keeping this process alive. */
export function unref(child: ChildProcess): void {
  child.unref()
  for (const stream of [child.stdin, child.stdout] as unknown as ({ unref(): void } | null)[]) stream?.unref()
}

const MISPLACED = 'the files of ticketkeep are not where they were installed'

/** A single executable application is not Node: starting it would run the program again. */
const isApplication = () => process.getBuiltinModule('node:sea')?.isSea() === true

function helperProgram() {
  if (isApplication()) return undefined
  const folder = packageFolder()
  if (folder === undefined) return undefined
  const { NODE_OPTIONS: _, ...env } = environmentWithoutUs()
  return {
    program: process.execPath,
    args: [join(folder, 'dist', 'key-helper.cjs')],
    // The helper does not keep the program's working directory in use, so it can be removed or unmounted.
    options: { cwd: join(folder, 'dist'), env: { ...env, ELECTRON_RUN_AS_NODE: '1' }, windowsHide: true },
  }
}

/** Encodes an outcome as a line of JSON without the keys, followed by the keys, the current one first. */
export function encodeOutcome({ keys, ...outcome }: KeyOutcome): Buffer {
  const retiredAt = keys?.previous?.map((one) => one.retiredAt)
  const line = JSON.stringify({ ...outcome, createdAt: keys?.createdAt, retiredAt })
  return Buffer.concat([Buffer.from(`${line}\n`), ...(keys ? allKeys(keys) : [])])
}

/** @throws {RangeError | SyntaxError} for bytes that `encodeOutcome` did not make */
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

function readOutcome(output: Buffer, source: KeySettings['source']): KeyOutcome {
  try {
    return decodeOutcome(output)
  } catch {
    return failed(source, 'the helper process gave no answer')
  } finally {
    wipe(output)
  }
}

function failed(asked: KeySettings['source'], reason: string): KeyOutcome {
  const source = asked === 'auto' ? 'memory' : asked
  const answer = { state: 'unavailable', reason } as const
  return outcomeOf(answer, [inWords(source, answer)])
}
