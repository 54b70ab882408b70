import { readFileSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { TicketkeepError } from '../errors.ts'
import { type HostPort, hostPort } from '../host-port.ts'

/** The address and settings of a pool. It contains a password: it must never be logged or put into an error. */
export interface PoolAddress {
  readonly kind: 'single' | 'cluster' | 'sentinel'
  /** The server, some nodes of the cluster, or the sentinels. */
  readonly nodes: readonly HostPort[]
  /** The name by which the sentinels know the primary. */
  readonly primary: string | undefined
  /** The contents of the PEM files. Undefined: without TLS. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  /** The number of the database. */
  readonly database: number
  /** The prefix of all key names. */
  readonly prefix: string
  /** The most batches kept per peer and binding. */
  readonly batches: number
  /** The most pairs of peer and binding kept in total. */
  readonly origins: number
  /** The maximum time that a job waits for the pool: milliseconds. */
  readonly budget: number
  /** Whether TLS 1.2 sessions are shared, too. */
  readonly tls12: boolean
}

const URL_FORM =
  /^(?<scheme>valkey|redis)(?<tls>s?):\/\/(?:(?<user>[^@/?#]*)@)?(?<hosts>[^@/?#]+)(?:\/(?<database>\d{0,5}))?(?:\?(?<parameters>[^#]*))?$/
const HOST_FORM = /^(?:\[(?<address>[^\]]+)\]|(?<name>[^:[\]]+))(?::(?<port>\d{1,5}))?$/

const PARAMETERS = ['cluster', 'sentinel', 'plaintext', 'tls12', 'prefix', 'batches', 'origins', 'budget']
const FILES = ['ca', 'cert', 'key', 'password-file']

/**
 * Parses the URL of a pool: `valkeys://user@host:6379/0?password-file=/run/secrets/pool`. `docs/fleet.md` lists all
 * forms.
 *
 * @param from the origin of the URL: a variable may contain a password, an option may not, since other users see it
 *   in `ps`
 * @throws {TicketkeepError} `ERR_INVALID_SETTING`. The message quotes no part of the URL.
 */
export function readPoolAddress(url: string, from: '--pool' | 'TICKETKEEP_POOL'): PoolAddress {
  const refuse = (why: string) => new TicketkeepError('ERR_INVALID_SETTING', `the URL of ${from} ${why}`)
  const form = URL_FORM.exec(url)?.groups
  if (!form) {
    throw refuse(
      'is not of the form valkeys://[USER[:PASSWORD]@]HOST[:PORT][,HOST…][/DATABASE][?NAME=VALUE…]; in a name and a password, spell @ / ? # as %40 %2F %3F %23',
    )
  }
  const parameters = new URLSearchParams(form.parameters)
  const text = (name: string) => parameters.get(name) || undefined
  for (const name of parameters.keys()) {
    if (![...PARAMETERS, ...FILES].includes(name))
      throw refuse('has a parameter that ticketkeep does not know')
  }
  const yes = (name: string) => {
    const value = text(name)
    if (value !== undefined && !['yes', 'no'].includes(value))
      throw refuse(`has a value other than yes or no for ${name}`)
    return value === 'yes'
  }
  const number = (name: string, usual: number, most: number) => {
    const value = text(name)
    if (value === undefined) return usual
    if (!/^[1-9]\d{0,5}$/.test(value) || Number(value) > most)
      throw refuse(`needs a number from 1 to ${most} as ${name}`)
    return Number(value)
  }
  const file = (name: string) => {
    const path = text(name)
    if (path === undefined) return undefined
    if (!isAbsolute(path)) throw refuse(`needs an absolute path as ${name}`)
    try {
      return readFileSync(path, 'utf8')
    } catch (error) {
      throw refuse(`names a file as ${name} that cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
  }

  const [username, inUrl] = credentials(form.user, refuse)
  if (inUrl !== undefined && from === '--pool') {
    throw refuse(
      'holds a password, which every user of this machine can read in the list of processes; put the URL into TICKETKEEP_POOL, or the password into a file and name it by ?password-file=/PATH',
    )
  }
  const password = file('password-file')?.trim() ?? inUrl
  const primary = text('sentinel')
  const isCluster = yes('cluster')
  if (isCluster && primary !== undefined) throw refuse('asks for both cluster and sentinel')
  const kind = isCluster ? 'cluster' : primary === undefined ? 'single' : 'sentinel'
  const nodes = form.hosts!.split(',').map((host) => node(host, kind, refuse))
  if (kind === 'single' && nodes.length > 1)
    throw refuse('names several servers; add cluster=yes or sentinel=NAME to it')
  const database = Number(form.database || 0)
  if (isCluster && database !== 0) throw refuse('names a database, which a cluster does not have')
  const isPlain = form.tls === ''
  // A cluster or a sentinel redirects us to other machines.
  const staysHere = kind === 'single' && isLoopback(nodes[0]!.host)
  if (isPlain && !staysHere && !yes('plaintext')) {
    throw refuse(
      'means a connection without TLS to another machine; use valkeys://, or add plaintext=yes if the network is yours alone',
    )
  }
  const prefix = text('prefix') ?? 'ticketkeep:'
  if (!/^[\w.:/-]{1,64}$/.test(prefix))
    throw refuse('has a prefix with characters other than A-Z a-z 0-9 _ . : / -')
  const [ca, cert, key] = [file('ca'), file('cert'), file('key')]
  return {
    kind,
    nodes,
    primary,
    tls: isPlain ? undefined : { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
    // The password of the default user: every server since Redis 6 accepts it together with this name.
    username: username ?? (password === undefined ? undefined : 'default'),
    password,
    database,
    prefix,
    batches: number('batches', 256, 10_000),
    origins: number('origins', 1024, 100_000),
    budget: number('budget', 200, 60_000),
    tls12: yes('tls12'),
  }
}

type Refuse = (why: string) => TicketkeepError

function credentials(user: string | undefined, refuse: Refuse): [string | undefined, string | undefined] {
  if (user === undefined) return [undefined, undefined]
  const colon = user.indexOf(':')
  const [name, password] = colon < 0 ? [user, undefined] : [user.slice(0, colon), user.slice(colon + 1)]
  try {
    return [
      name === '' ? undefined : decodeURIComponent(name),
      password === undefined ? undefined : decodeURIComponent(password),
    ]
  } catch {
    throw refuse('has a % in its name or password that is not spelled %25')
  }
}

function node(text: string, kind: PoolAddress['kind'], refuse: Refuse): HostPort {
  const form = HOST_FORM.exec(text)?.groups
  try {
    const usual = kind === 'sentinel' ? 26_379 : 6_379
    return hostPort(form?.address ?? form?.name ?? '', Number(form?.port ?? usual))
  } catch {
    throw refuse('names something that is not HOST, HOST:PORT or [IPv6 address]:PORT')
  }
}

const isLoopback = (host: string) => host === 'localhost' || host === '::1' || /^127(?:\.\d+){3}$/.test(host)
