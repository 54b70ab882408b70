import { rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Nginx, type NginxOptions, startNginx, type TlsVersion } from '../test/support/nginx.ts'
import { type NodeLine, nodeBinary } from '../test/support/pinned.ts'
import { type Authority, createAuthority, type KeyType } from '../test/support/pki.ts'
import { ROOT } from '../test/support/places.ts'
import { createSandbox, environment, type Sandbox } from '../test/support/run-program.ts'
import { type Cost, type Job, type Meter, startMeter } from './measure.ts'
import { INSTALLED } from './packages.ts'
import type { Way } from './paired.ts'

export const PROGRAMS = join(ROOT, 'bench/programs')

/** A program of the benchmark's, run by one Node. */
export interface Run {
  readonly line: NodeLine
  /** A path, or the name of a file in `bench/programs`. */
  readonly program: string
  readonly args?: readonly string[]
  /** Its path; without it, or where it is false, there is none. */
  readonly preload?: string | false
  /** On top of the usual: `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** A folder of its own, a certificate authority, a meter, and what has to be ended with them. */
export class Place {
  readonly #ends: (() => unknown)[] = []
  #stores = 0

  private constructor(
    readonly sandbox: Sandbox,
    readonly ca: Authority,
    readonly caFile: string,
    private readonly meter: Meter,
  ) {}

  static async make(): Promise<Place> {
    const sandbox = createSandbox()
    const ca = await createAuthority()
    return new Place(sandbox, ca, sandbox.write('ca.pem', ca.cert), startMeter())
  }

  /** Makes a place, and ends it whatever happens. */
  static async with<T>(work: (place: Place) => Promise<T>): Promise<T> {
    const place = await Place.make()
    try {
      return await work(place)
    } finally {
      await place.end()
    }
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

  /** Programs trust the CA by `NODE_EXTRA_CA_CERTS`, as in most companies. */
  job({ line, program, args = [], preload, env = {} }: Run): Job {
    const { sandbox } = this
    return {
      argv: [nodeBinary(line), resolve(PROGRAMS, program), ...args],
      env: environment({
        sandbox,
        preload: preload ?? false,
        env: { NODE_EXTRA_CA_CERTS: this.caFile, ...env },
      }),
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
    const way = this.way(this.job({ preload: INSTALLED, ...run, env: { ...run.env, TICKETKEEP_DIR: store } }))
    return () => {
      rmSync(store, { recursive: true, force: true })
      return way()
    }
  }

  /** The same as a later run: one has stored tickets, and resumed as it has to in each that is measured. */
  async warm(run: Run, expected = 'r'): Promise<Way> {
    const job = this.job({ preload: INSTALLED, ...run, env: { TICKETKEEP_DIR: this.store(), ...run.env } })
    await this.meter.measure(job)
    const way = this.way(job, expected)
    await way()
    return way
  }
}

export const urlOf = (nginx: Nginx, version: TlsVersion, host = 'localhost') =>
  `https://${host}:${nginx.ports[version]}/`
