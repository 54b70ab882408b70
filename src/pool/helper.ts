import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { packageFolder } from '../common/package-folder.ts'
import { unref } from '../keys/helper-process.ts'
import type { PoolAddress } from './address.ts'
import type { AnswerTo, Dial, Line, Request } from './messages.ts'

/** Why a pool is of no use now, in words; `isMissing`: its client is not installed. */
export class PoolUnusable extends Error {
  constructor(
    reason: string,
    readonly isMissing = false,
  ) {
    super(reason)
  }
}

/** How long the helper may take to load the client, which has nothing to do with the pool: milliseconds. */
const LOAD_TIME = 5_000

/** More than all boxes that a job takes: bytes. */
const MAX_ANSWER = 20_000_000

/** The heap of the helper: MiB. */
const MAX_HEAP = 256

/** What the helper gets of our environment: no key, no NODE_OPTIONS, and not DEBUG, by which the client prints passwords. */
const PASSED_ON = ['PATH', 'SystemRoot', 'TEMP', 'TMPDIR', 'TZ', 'LANG', 'NODE_EXTRA_CA_CERTS']

/** A process that talks to the pool, started at once, for one request. */
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
      // In a group of its own, so that Ctrl-C in a terminal does not reach it: it ends when we do.
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
   * Asks once, and ends the helper.
   * @param prepare makes the request, once the pool is connected: its time does not count
   * @param budget how long the pool may take: milliseconds
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
      // It ends by itself, in a moment.
      unref(this.#child)
      return (line as { answer: AnswerTo<R> }).answer
    } catch (error) {
      this.end()
      throw error
    }
  }

  /** Ends it at once, whatever it does. */
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
