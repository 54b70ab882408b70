import { chownSync, cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Nginx, type NginxOptions, startNginx, type TlsVersion } from '../test/support/nginx.ts'
import { type NodeLine, nodeBinary } from '../test/support/pinned.ts'
import { type Authority, createAuthority, type KeyType } from '../test/support/pki.ts'
import { DIST, ROOT } from '../test/support/places.ts'
import { createSandbox, environment, type Sandbox } from '../test/support/run-program.ts'
import { type Cost, type Job, type Meter, startMeter } from './measure.ts'
import type { Way } from './paired.ts'

const NOBODY = 65_534

export const PROGRAMS = join(ROOT, 'bench/programs')

/** A program of the benchmark's, run by one Node. */
export interface Run {
  readonly line: NodeLine
  readonly program: string
  readonly args?: readonly string[]
  /** A path for another preload than ours, false for none. */
  readonly preload?: boolean | string
  readonly env?: Readonly<Record<string, string>>
}

/** A folder of its own, a certificate authority, a meter, and what has to be ended with them. */
export class Place {
  readonly sandbox: Sandbox
  readonly #ends: (() => unknown)[] = []
  #stores = 0

  private constructor(
    readonly ca: Authority,
    readonly caFile: string,
    sandbox: Sandbox,
    private readonly meter: Meter,
  ) {
    this.sandbox = sandbox
  }

  /** @param prefix see `startMeter` */
  static async make(prefix?: readonly string[]): Promise<Place> {
    const sandbox = createSandbox()
    const ca = await createAuthority()
    return new Place(ca, sandbox.write('ca.pem', ca.cert), sandbox, startMeter(prefix))
  }

  /** Something to be ended with this place: the last one first. */
  atEnd(end: () => unknown): void {
    this.#ends.push(end)
  }

  async end(): Promise<void> {
    this.meter.close()
    for (const end of this.#ends.reverse()) await end()
    this.sandbox.remove()
  }

  async nginx(
    keyType: KeyType,
    options: Omit<NginxOptions, 'cert' | 'key'> & { names?: string[] } = {},
  ): Promise<Nginx> {
    const { names, ...rest } = options
    const nginx = await startNginx({
      ...(await this.ca.issue({ keyType, ...(names && { names }) })),
      ...rest,
    })
    this.atEnd(() => nginx.stop())
    return nginx
  }

  /** A store that is not there yet, and where none has been. */
  store(): string {
    return join(this.sandbox.directory, `store-${this.#stores++}`)
  }

  job({ line, program, args = [], preload = false, env = {} }: Run): Job {
    const { sandbox } = this
    return {
      argv: [nodeBinary(line), join(PROGRAMS, program), ...args],
      env: environment({ sandbox, preload, env: { NODE_EXTRA_CA_CERTS: this.caFile, ...env } }),
      cwd: sandbox.directory,
    }
  }

  /** Runs a job; it has to succeed, and to say first what is expected: `r` or `.`. */
  way(job: Job, expected = ''): Way {
    return async () => {
      const cost = await this.meter.measure(job)
      if (cost.status !== 0 || !cost.out.startsWith(expected)) {
        throw new Error(`${job.argv.join(' ')} ended with ${cost.status}, said ${JSON.stringify(cost.out)}`)
      }
      return cost
    }
  }

  measure(job: Job): Promise<Cost> {
    return this.meter.measure(job)
  }

  /** The same run as always the first: its store is removed before. */
  cold(run: Run): Way {
    const store = this.store()
    const way = this.way(this.job({ ...run, preload: true, env: { ...run.env, TICKETKEEP_DIR: store } }), '.')
    return () => {
      rmSync(store, { recursive: true, force: true })
      return way()
    }
  }

  /**
   * The same as a later run: it has run until it resumed.
   * @returns undefined where it does not come to that
   */
  async warm(run: Run, expected = 'r'): Promise<Way | undefined> {
    const { preload = true } = run
    const job = this.job({ ...run, preload, env: { TICKETKEEP_DIR: this.store(), ...run.env } })
    let good = 0
    // Two good ones: the first writes down the code that V8 has compiled of what a resumption runs.
    for (let i = 0; i < 8 && good < 2; i++) {
      if ((await this.meter.measure(job)).out.startsWith(expected)) good++
    }
    return good < 2 ? undefined : this.way(job, expected)
  }

  /** The same as a later run, whether or not the key comes in time for it: the outputs tell. */
  async later(run: Run): Promise<Way> {
    const job = this.job({ ...run, preload: true, env: { TICKETKEEP_DIR: this.store(), ...run.env } })
    for (let i = 0; i < 6; i++) await this.meter.measure(job)
    return this.way(job)
  }

  /** The same with a session that the program has at hand: the best that any store could do. */
  async ideal(run: Run): Promise<Way> {
    const file = join(this.store(), 'session')
    mkdirSync(join(file, '..'))
    const made = await this.meter.measure(
      this.job({ ...run, program: 'session.cjs', env: { ...run.env, FILE: file } }),
    )
    if (made.status !== 0) throw new Error(`no session from ${run.env?.URL}`)
    return this.way(this.job({ ...run, env: { ...run.env, SESSION: file } }), 'r')
  }

  /** The preload of a copy of the package that is another user's, as one that root has installed for all. */
  othersPreload(): string {
    const dist = join(this.sandbox.directory, 'dist')
    cpSync(DIST, dist, { recursive: true, filter: (path) => !path.endsWith('.v8') })
    for (const name of ['', ...readdirSync(dist)]) chownSync(join(dist, name), NOBODY, NOBODY)
    return join(dist, 'preload.cjs')
  }

  write(name: string, content: string): string {
    const path = join(this.sandbox.directory, name)
    writeFileSync(path, content)
    return path
  }
}

export const urlOf = (nginx: Nginx, version: TlsVersion, host = 'localhost') =>
  `https://${host}:${nginx.ports[version]}/`
