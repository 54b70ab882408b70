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

/** A program of the benchmark, run by one Node. */
export interface Run {
  readonly line: NodeLine
  /** A path, or the name of a file in `bench/programs`. */
  readonly program: string
  readonly args?: readonly string[]
  /** The path of the preload. If missing or false, there is none. */
  readonly preload?: string | false
  /** Added to the usual environment. `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/**
 * The surroundings of a measurement: a temporary folder, a certificate authority, a meter, and everything that must be
 * shut down with them.
 */
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

  /** Makes a place, and always shuts it down. */
  static async with<T>(work: (place: Place) => Promise<T>): Promise<T> {
    const place = await Place.make()
    try {
      return await work(place)
    } finally {
      await place.end()
    }
  }

  /** Registers a function to call at shutdown. The last one is called first. */
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

  /** The path of a new store, never used before. */
  store(): string {
    return join(this.sandbox.directory, `store-${this.#stores++}`)
  }

  /** Programs trust the CA through `NODE_EXTRA_CA_CERTS`, as in most companies. */
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

  /** Runs a job. It must succeed, and print the expected mark first: `r` or `.`. */
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

  /** Runs as if for the first time: the store is removed before each run. */
  cold(run: Run): Way {
    const store = this.store()
    const way = this.way(this.job({ preload: INSTALLED, ...run, env: { ...run.env, TICKETKEEP_DIR: store } }))
    return () => {
      rmSync(store, { recursive: true, force: true })
      return way()
    }
  }

  /** Runs as a later run: an earlier one has stored tickets, and each measured run must resume as expected. */
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
