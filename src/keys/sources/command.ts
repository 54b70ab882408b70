import type { ChildProcess } from 'node:child_process'
import { isAbsolute } from 'node:path'
import { clearTimeout, setTimeout } from 'node:timers'
import { wipe } from '../../common/bytes.ts'
import { onAbort } from '../../common/on-abort.ts'
import { environmentWithoutUs } from '../../common/package-folder.ts'
import { unref } from '../helper-process.ts'
import { type Asking, type KeyAnswer, type KeySource, SourceFailure } from '../key-source.ts'
import { readKeyText } from '../key-text.ts'

/** Milliseconds after which a command is killed, with every process that it started. */
export const COMMAND_TIME_LIMIT = 10_000

/** The maximum output in bytes. Beyond it the command is killed: the first line should be 44 characters. */
const OUTPUT_LIMIT = 4096

/**
 * The key of the last command, since a process runs a command once. Whoever can read its memory finds the subkeys there
 * anyway.
 */
let remembered: { readonly line: string; readonly key: Uint8Array; readonly reason: string } | undefined

/**
 * `TICKETKEEP_KEY_COMMAND`: `vault kv get -field=key secret/ticketkeep`, `pass show ticketkeep`, `op read …`. The first
 * line of its standard output is the key. It runs without a shell (`splitCommand`), without our preload, without
 * standard input and without a terminal. Its standard error is discarded.
 */
export function commandSource(line: string, timeLimit = COMMAND_TIME_LIMIT): KeySource {
  return { name: 'command', read: (asking) => readCommand(line, timeLimit, asking) }
}

async function readCommand(line: string, timeLimit: number, asking: Asking): Promise<KeyAnswer> {
  if (remembered?.line !== line) {
    const [program, ...args] = splitCommand(line) ?? []
    if (program === undefined) {
      return { state: 'refused', reason: 'TICKETKEEP_KEY_COMMAND is empty, or has a quote that does not end' }
    }
    if (isRelativePath(program)) return { state: 'refused', reason: RELATIVE }
    try {
      const key = await new KeyCommand(program, args, timeLimit, asking).key
      remembered = { line, key, reason: `${nameOf(program)} gave it` }
    } catch (error) {
      return (error as SourceFailure).failure
    }
  }
  const { key, reason } = remembered
  return { state: 'found', keys: { current: Uint8Array.from(key) }, reason }
}

/**
 * Whether a path depends on the working directory, which anybody may control. A name without a slash is searched in
 * PATH.
 */
const isRelativePath = (program: string) =>
  (process.platform === 'win32' ? /[\\/]/ : /^~|\//).test(program) && !isAbsolute(program)

const RELATIVE =
  'the program of TICKETKEEP_KEY_COMMAND must be a name or an absolute path: it is not relative to anything, and a "~" at its start is not expanded'

/**
 * The program's name in messages. In `NAME=value command`, which needs a shell, the value may be a secret and is not
 * shown.
 */
const nameOf = (program: string) =>
  program.includes('=') ? 'the key command (a variable before it needs a shell: sh -c)' : program

/** One run of a key command. It ends when the signal is aborted or the time limit is reached. */
class KeyCommand {
  /** Rejects with a `SourceFailure`. Does not settle if the signal is aborted. */
  readonly key: Promise<Uint8Array>
  readonly #program: string
  readonly #output = Buffer.alloc(OUTPUT_LIMIT)
  readonly #timer: NodeJS.Timeout
  readonly #doneWithSignal: () => void
  #length = 0
  #hasEnded = false
  #child: ChildProcess | undefined
  #isOver = false
  #resolve!: (key: Uint8Array) => void
  #reject!: (failure: SourceFailure) => void

  constructor(program: string, args: readonly string[], timeLimit: number, { hold, signal }: Asking) {
    this.#program = program
    this.key = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#timer = setTimeout(() => this.#fail(`no answer within ${timeLimit / 1000} s`), timeLimit)
    if (!hold) this.#timer.unref()
    this.#doneWithSignal = onAbort(signal, () => this.#end())
    this.#start(args, hold)
  }

  #start(args: readonly string[], hold: boolean): void {
    const { spawn } = require('node:child_process') as typeof import('node:child_process')
    const onError = ({ code }: NodeJS.ErrnoException) => this.#fail(`cannot be run (${code})`)
    try {
      const child = spawn(this.#program, args, {
        // A separate process group, so that its child processes can be killed with it.
        detached: process.platform !== 'win32',
        env: environmentWithoutUs(),
        stdio: ['ignore', 'pipe', 'ignore'],
        windowsHide: true,
      })
      this.#child = child
      if (!hold) unref(child)
      child.on('error', onError)
      child.stdout.on('error', () => {})
      child.stdout.on('data', (chunk: Buffer) => this.#receive(chunk))
      child.on('exit', (status, signal) => this.#onExit(status, signal))
      child.on('close', (status, signal) => this.#conclude(status, signal))
    } catch (error) {
      onError(error as NodeJS.ErrnoException)
    }
  }

  #receive(chunk: Buffer): void {
    const fits = this.#length + chunk.length <= OUTPUT_LIMIT
    if (fits && !this.#isOver) this.#length += chunk.copy(this.#output, this.#length)
    wipe(chunk)
    if (!fits) this.#fail('more output than a key has')
    else if (this.#hasEnded && this.#firstLineEnd >= 0) this.#conclude(0, null)
  }

  /**
   * Does not wait for the end of the output if the first line is complete: an agent that the command left running may
   * hold the output open.
   */
  #onExit(status: number | null, signal: NodeJS.Signals | null): void {
    this.#hasEnded = true
    if (status !== 0 || this.#firstLineEnd >= 0) this.#conclude(status, signal)
  }

  /** -1 if the first line is not complete yet. */
  get #firstLineEnd(): number {
    return this.#output.subarray(0, this.#length).indexOf(0x0a)
  }

  #conclude(status: number | null, signal: NodeJS.Signals | null): void {
    if (this.#isOver) return
    // The command has exited. Processes that it left running are not killed.
    this.#child?.stdout?.destroy()
    this.#child = undefined
    if (status !== 0) {
      this.#fail(signal ? `ended by ${signal}` : `failed with exit status ${status}`)
      return
    }
    const end = this.#firstLineEnd
    const key = readKeyText(this.#output.subarray(0, end < 0 ? this.#length : end))
    this.#end()
    if (typeof key !== 'string') this.#resolve(key)
    else {
      const reason = `the first output line of ${nameOf(this.#program)} is not a key: ${key}`
      this.#reject(new SourceFailure(reason, undefined, 'refused'))
    }
  }

  #fail(reason: string): void {
    if (this.#isOver) return
    this.#end()
    this.#reject(new SourceFailure(`${nameOf(this.#program)}: ${reason}`))
  }

  #end(): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#doneWithSignal()
    wipe(this.#output)
    this.#child?.stdout?.destroy()
    this.#kill()
  }

  #kill(): void {
    if (this.#child?.pid === undefined) return
    try {
      if (process.platform === 'win32') this.#child.kill()
      else process.kill(-this.#child.pid, 'SIGKILL')
    } catch {}
  }
}

/**
 * Splits a command line into words at white space. Single quotes preserve everything. Double quotes preserve everything
 * except a backslash before `"` or `\`. Outside quotes a backslash preserves the next character. (On Windows, where
 * paths contain backslashes, a backslash is an ordinary character everywhere.) Nothing is expanded: no variable, no
 * `~`, no pipe. For those use a shell: `sh -c '…'`.
 *
 * @returns undefined if a quote is not closed
 */
export function splitCommand(line: string, windows = process.platform === 'win32'): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!
    if (quote !== '') {
      if (c === quote) quote = ''
      else if (!windows && c === '\\' && quote === '"' && /["\\]/.test(line[i + 1] ?? '')) word += line[++i]!
      else word += c
    } else if (c === '"' || c === "'") {
      quote = c
      word ??= ''
    } else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (!windows && c === '\\' && i + 1 < line.length) word = (word ?? '') + line[++i]!
    else word = (word ?? '') + c
  }
  if (quote !== '') return undefined
  if (word !== undefined) words.push(word)
  return words
}
