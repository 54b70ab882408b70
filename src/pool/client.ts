import type { Cluster, Redis } from 'iovalkey'
import type { Dial } from './messages.ts'

/** Both types have a method for each command. */
export type Client = Redis | Cluster

/** A failure described in our own words. A message of the pool might contain the password that was sent to it. */
export class PoolFailure extends Error {}

/** Texts for the first word of a server's error. */
const REPLIES: Readonly<Record<string, string>> = {
  WRONGPASS: 'it refuses the user name or the password',
  NOAUTH: 'it wants a password',
  NOPERM: 'its user may not do this; "ticketkeep pool status" prints the permissions that are needed',
  OOM: 'it is full',
  READONLY: 'it is a read-only replica',
  LOADING: 'it is still loading its data',
  MISCONF: 'it cannot write its snapshots, and accepts nothing',
  MASTERDOWN: 'its primary is down',
  CLUSTERDOWN: 'the cluster is down',
}

/** Error codes of Node for a failed connection: `ECONNREFUSED`, `CERT_HAS_EXPIRED`. */
const CODE = /^[A-Z][A-Z0-9_]{2,60}$/

/** Whether the error is a reply of the server, which means that the command was not executed. */
export const isReply = (error: unknown) => (error as Error | undefined)?.name === 'ReplyError'

export function reasonOf(error: unknown): string {
  if (error instanceof PoolFailure) return error.message
  const { message = '', code, lastNodeError } = error as NodeJS.ErrnoException & { lastNodeError?: unknown }
  if (lastNodeError) return reasonOf(lastNodeError)
  if (isReply(error)) return REPLIES[message.split(' ')[0]!] ?? 'it answered with an error'
  if (code !== undefined && CODE.test(code)) return `it cannot be reached (${code})`
  return 'the connection was closed'
}

type Loaded = Pick<typeof import('iovalkey'), 'Redis' | 'Cluster'>

/**
 * Connects without retries, because a job is waiting.
 * @throws {PoolFailure}
 */
export async function connect(iovalkey: Loaded, dial: Dial): Promise<Client> {
  const client = dial.kind === 'cluster' ? cluster(iovalkey, dial) : single(iovalkey, dial)
  let first: unknown
  const note = (error: unknown) => {
    first ??= error
  }
  client.on('error', note)
  client.on('node error', note)
  try {
    await client.connect()
    await client.ping()
    return client
  } catch (error) {
    throw new PoolFailure(reasonOf(isReply(error) ? error : (first ?? error)))
  }
}

const shared = ({ username, password, tls, budget }: Dial) => ({
  ...(username !== undefined && { username }),
  ...(password !== undefined && { password }),
  ...(tls && { tls: { ...tls, rejectUnauthorized: true } }),
  lazyConnect: true,
  enableReadyCheck: false,
  connectTimeout: budget,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
})

function single({ Redis }: Loaded, dial: Dial): Redis {
  const { nodes, primary, tls, database } = dial
  const place =
    primary === undefined
      ? nodes[0]!
      : {
          sentinels: [...nodes],
          name: primary,
          sentinelRetryStrategy: () => null,
          ...(tls && { sentinelTLS: { ...tls, rejectUnauthorized: true }, enableTLSForSentinelMode: true }),
        }
  return new Redis({ ...shared(dial), ...place, db: database, retryStrategy: () => null })
}

function cluster({ Cluster }: Loaded, dial: Dial): Cluster {
  return new Cluster([...dial.nodes], {
    redisOptions: shared(dial),
    lazyConnect: true,
    enableReadyCheck: false,
    clusterRetryStrategy: () => null,
    // A node may not answer at all. This leaves time to try another.
    slotsRefreshTimeout: dial.budget / 3,
    maxRedirections: 3,
    retryDelayOnFailover: 10,
    retryDelayOnClusterDown: 10,
    // Keep the host names as given: the certificates are issued for them.
    dnsLookup: (name, done) => done(null, name),
  })
}
