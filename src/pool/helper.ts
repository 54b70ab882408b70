import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { packageFolder } from '../common/package-folder.ts'
import { unref } from '../keys/helper-process.ts'
import type { PoolAddress } from './address.ts'
import type { AnswerTo, Dial, Line, Request } from './messages.ts'

/** Why a pool cannot be used now. `isMissing`: its client is not installed. */
export class PoolUnusable extends Error {
  constructor(
    reason: string,
    readonly isMissing = false,
  ) {
    super(reason)
  }
}

/** The maximum time for loading the client, which does not depend on the pool: milliseconds. */
const LOAD_TIME = 5_000

/** The maximum size of an answer in bytes: more than all boxes that a job takes. */
const MAX_ANSWER = 20_000_000

/** The heap limit of the helper: MiB. */
const MAX_HEAP = 256

/**
 * The variables of our environment that the helper gets: no key, no NODE_OPTIONS, and not DEBUG, which makes the client
 * print passwords.
 */
const PASSED_ON = ['PATH', 'SystemRoot', 'TEMP', 'TMPDIR', 'TZ', 'LANG', 'NODE_EXTRA_CA_CERTS']

/** A process that talks to the pool. It is started by the constructor and serves one request. */
export class PoolHelper {
  readonly #child
  readonly #address: PoolAddress
  readonly #waiting: ((line: Line) => void)[] = []
  readonly #lines: Line[] = []
  #output = ''
  #bytes = 0

  constructor(address: PoolAddress) {
    this.#address = address
    const folder = packageFolder()
    const env = Object.fromEntries(PASSED_ON.map((name) => [name, process.env[name]]))
    this.#child = spawn(
      process.execPath,
      [`--max-old-space-size=${MAX_HEAP}`, join(folder ?? '', 'dist', 'pool-helper.js')],
      // A separate process group, so that Ctrl-C in a terminal does not reach it. It ends when we do.
      { env, stdio: ['pipe', 'pipe', 'ignore'], detached: true, windowsHide: true },
    )
    this.#child.on('error', () => this.#take({ state: 'failed', reason: 'its client does not start' }))
    this.#child.on('close', () => this.#take({ state: 'failed', reason: 'its client failed' }))
    this.#child.stdin.on('error', () => {})
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text))
    const { kind, nodes, primary, tls, username, password, database, budget } = address
    this.#write({ kind, nodes, primary, tls, username, password, database, budget })
  }

  /**
   * Sends one request, then ends the helper.
   * @param prepare makes the request after the pool is connected; its time does not count
   * @param budget the maximum time for the pool: milliseconds
   * @throws {PoolUnusable}
   */
  async ask<R extends Request>(prepare: () => R, budget = this.#address.budget): Promise<AnswerTo<R>> {
    try {
      await this.#next(LOAD_TIME, 'its client does not load')
      const late = `it did not answer within ${budget} ms`
      const start = performance.now()
      await this.#next(budget, late)
      const left = budget - (performance.now() - start)
      this.#write(prepare())
      const line = await this.#next(left, late)
      // It will end by itself in a moment.
      unref(this.#child)
      return (line as { answer: AnswerTo<R> }).answer
    } catch (error) {
      this.end()
      throw error
    }
  }

  /** Kills the helper. */
  end(): void {
    this.#child.kill('SIGKILL')
    this.#child.stdout.destroy()
  }

  #write(message: Dial | Request): void {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`)
  }

  #read(text: string): void {
    this.#bytes += text.length
    if (this.#bytes > MAX_ANSWER) this.#take({ state: 'failed', reason: 'it sends more than was asked for' })
    this.#output += text
    if (!text.includes('\n')) return
    const lines = this.#output.split('\n')
    this.#output = lines.pop()!
    for (const line of lines) this.#take(parse(line))
  }

  #take(line: Line): void {
    const waiting = this.#waiting.shift()
    if (waiting) waiting(line)
    else this.#lines.push(line)
  }

  async #next(ms: number, late: string): Promise<Line> {
    let timer: NodeJS.Timeout | undefined
    const line = await new Promise<Line>((done) => {
      const first = this.#lines.shift()
      if (first) return done(first)
      this.#waiting.push(done)
      timer = setTimeout(() => done({ state: 'failed', reason: late }), ms)
    })
    clearTimeout(timer)
    if (line.state === 'failed') throw new PoolUnusable(line.reason, line.isMissing)
    return line
  }
}

function parse(line: string): Line {
  try {
    return JSON.parse(line) as Line
  } catch {
    return { state: 'failed', reason: 'its client failed' }
  }
}
