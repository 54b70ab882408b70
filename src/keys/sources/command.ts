import type { ChildProcess } from 'node:child_process'
import { wipe } from '../../common/bytes.ts'
import { environmentWithoutUs } from '../../common/package-folder.ts'
import { answered, type KeyAnswer, type KeySource } from '../key-source.ts'
import { readKeyText } from '../key-text.ts'

/** Milliseconds after which a command is ended, with everything that it started. */
export const COMMAND_TIME_LIMIT = 10_000

/** Bytes of output after which a command is ended: its first line is to be 44 characters. */
const OUTPUT_LIMIT = 4096

/** A process asks once: whoever can read its memory finds the subkeys there anyway. */
let remembered: { readonly line: string; readonly key: Uint8Array; readonly reason: string } | undefined

/**
 * `TICKETKEEP_KEY_COMMAND`: `vault kv get -field=key secret/ticketkeep`, `pass show ticketkeep`, `op read …`.
 * The first line of its standard output is the key. It runs without a shell (`splitCommand`), without our
 * preload, with no standard input and no terminal; what it says on standard error is dropped.
 */
export function commandSource(line: string | undefined, timeLimit = COMMAND_TIME_LIMIT): KeySource {
  return {
    name: 'command',
    configured: line !== undefined,
    setting: 'TICKETKEEP_KEY_COMMAND',
    waits: remembered?.line !== line,
    read({ hold }, done) {
      if (remembered !== undefined && remembered.line === line) {
        done({
          state: 'found',
          keys: { current: Uint8Array.from(remembered.key) },
          reason: remembered.reason,
        })
        return answered
      }
      const argv = splitCommand(line ?? '')
      if (argv === undefined || argv[0] === undefined) {
        done({
          state: 'refused',
          reason: 'TICKETKEEP_KEY_COMMAND is empty, or has a quote that does not end',
        })
        return answered
      }
      return run(argv as [string, ...string[]], timeLimit, hold, (answer) => {
        if (answer.state === 'found') {
          remembered = { line: line!, key: Uint8Array.from(answer.keys.current), reason: answer.reason }
        }
        done(answer)
      })
    },
  }
}

function run(
  [program, ...args]: [string, ...string[]],
  timeLimit: number,
  hold: boolean,
  done: (answer: KeyAnswer) => void,
): () => void {
  const { spawn } = require('node:child_process') as typeof import('node:child_process')
  const output = Buffer.alloc(OUTPUT_LIMIT)
  let length = 0
  let over = false
  let child: ChildProcess | undefined
  const end = (answer?: KeyAnswer) => {
    if (over) return
    over = true
    clearTimeout(timer)
    if (child?.stdout) child.stdout.destroy()
    wipe(output)
    if (answer) done(answer)
  }
  const kill = () => {
    if (child?.pid === undefined) return
    try {
      // its own process group: what it has started ends with it
      if (process.platform === 'win32') child.kill()
      else process.kill(-child.pid, 'SIGKILL')
    } catch {}
  }
  const fail = (reason: string) => {
    kill()
    end({ state: 'unavailable', reason: `${program}: ${reason}` })
  }
  const timer = setTimeout(() => fail(`no answer within ${timeLimit / 1000} s`), timeLimit)
  try {
    child = spawn(program, args, {
      detached: process.platform !== 'win32',
      env: environmentWithoutUs(),
      stdio: ['ignore', 'pipe', 'ignore'],
      windowsHide: true,
    })
  } catch (error) {
    queueMicrotask(() => fail(`cannot be run (${(error as NodeJS.ErrnoException).code})`))
    return () => end()
  }
  if (!hold) {
    timer.unref()
    child.unref()
    ;(child.stdout as unknown as { unref(): void }).unref()
  }
  child.on('error', (error) => fail(`cannot be run (${(error as NodeJS.ErrnoException).code})`))
  child.stdout!.on('error', () => {})
  child.stdout!.on('data', (chunk: Buffer) => {
    if (!over && length + chunk.length <= OUTPUT_LIMIT) length += chunk.copy(output, length)
    else if (!over) fail('more output than a key has')
    wipe(chunk)
  })
  child.on('close', (status, signal) => {
    if (over) return
    if (status !== 0) return fail(signal ? `ended by ${signal}` : `failed with exit status ${status}`)
    const newline = output.subarray(0, length).indexOf(0x0a)
    const key = readKeyText(output.subarray(0, newline < 0 ? length : newline))
    if (typeof key === 'string') {
      end({ state: 'refused', reason: `the first output line of ${program} is not a key: ${key}` })
    } else end({ state: 'found', keys: { current: key }, reason: `${program} gave it` })
  })
  return () => {
    if (over) return
    kill()
    end()
  }
}

/**
 * Splits a command line into words at white space. Single quotes keep everything, double quotes everything
 * but a backslash before `"` or `\`; outside quotes a backslash keeps the next character (on Windows, where
 * it is part of paths, it is an ordinary character everywhere). Nothing is expanded: no variable, no `~`, no
 * pipe. For those, say it: `sh -c '…'`.
 *
 * @returns undefined where a quote does not end
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
