import { unixNow } from '../../common/clock.ts'
import { type HostPort, peerOf } from '../../host-port.ts'
import { type Exchange, giveToPool, statusOfPool, takeFromPool } from '../../pool/exchange.ts'
import { PoolHelper, PoolUnusable } from '../../pool/helper.ts'
import type { PoolStatus } from '../../pool/messages.ts'
import { readSettings } from '../../settings.ts'
import { type Command, Failure, type Input, UsageError } from '../command.ts'
import { findPool, INSTALL_CLIENT, jobName, openExchange } from '../open-exchange.ts'
import { readServer } from '../read-server.ts'
import { bytes, count, milliseconds, type Report, thousands } from '../render.ts'

/**
 * `--json`: `take` gives `{ "taken": 16 }`, `give` gives `{ "given": 31 }`, both in tickets. `status` gives
 * `{ "latency": 0.4, "version": "Valkey 8.0.1", "eviction": "volatile-ttl", "maxMemory": 0, "usedMemory": 1048576,
 * "appendOnly": false, "lastSnapshot": 1700000000, "peers": 2, "sets": 3, "batches": 40, "asked": 100, "found": 90,
 * "warnings": ["…"], "acl": "ACL SETUSER …" }`: milliseconds, bytes, UNIX seconds. What the server does not report is null. `asked`
 * and `found`: how many sets of batches jobs have asked for within a week, and how many of them had a batch.
 */
export const command: Command = {
  usage: 'pool take|give|status [--pool URL] [--job NAME] [--json] [HOST[:PORT]...]',
  help: `
Shares tickets within a fleet of runners, through a Valkey or Redis server. "take" puts tickets into
the store of this machine, "give" moves those of the store to the pool. "run --pool" does both.
"status" describes the state of the pool, and prints the permissions that its user needs.

"take" takes tickets of the servers that this job used last time, or of those that are named.

The key must be the fleet's, from a variable, a file, a command or a systemd credential. Anyone
with the key can impersonate any server to the whole fleet: docs/fleet.md says who may share one.`,
  options: {
    pool: {
      type: 'string',
      value: 'URL',
      about: 'the pool, as in TICKETKEEP_POOL; without a password, which others could see',
    },
    job: {
      type: 'string',
      value: 'NAME',
      about: 'name of the job; default: its name in GitHub Actions or GitLab CI, else "default"',
    },
  },
  operands: [1, Number.POSITIVE_INFINITY],
  completes: ['take', 'give', 'status'],
  async run(input) {
    const [verb = '', ...servers] = input.operands
    const act = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined
    if (!act) throw new UsageError(`there is no "pool ${verb}"; give take, give or status`)
    if (servers.length > 0 && verb !== 'take') throw new UsageError(`"pool ${verb}" takes no servers`)
    const peers = servers.flatMap(peersOf)
    const address = findPool(input.options.pool as string | undefined, process.env)
    if (!address) throw new UsageError('there is no pool; name one by --pool URL or TICKETKEEP_POOL')
    const exchange = await openExchange(address, readSettings())
    try {
      return await act(exchange, new PoolHelper(address), input, peers)
    } catch (error) {
      if (!(error instanceof PoolUnusable)) throw error
      throw new Failure(error.isMissing ? INSTALL_CLIENT : `the pool cannot be used: ${error.message}`)
    }
  },
}

type Act = (
  exchange: Exchange,
  helper: PoolHelper,
  input: Input,
  peers: readonly HostPort[],
) => Promise<Report>

const VERBS: Readonly<Record<string, Act>> = {
  async take(exchange, helper, { options }, peers) {
    const from =
      peers.length > 0 ? { peers } : { job: jobName(options.job as string | undefined, process.env) }
    const taken = await takeFromPool(exchange, helper, from, unixNow())
    return { json: { taken }, text: [`Took ${count(taken, 'ticket')} from the pool.`] }
  },
  async give(exchange, helper, { options }) {
    const job = jobName(options.job as string | undefined, process.env)
    const { given, refused } = await giveToPool(exchange, helper, job, unixNow())
    if (refused !== undefined) {
      throw new Failure(`the pool refused tickets, which are still in the store: ${refused}`)
    }
    return { json: { given }, text: [`Gave ${count(given, 'ticket')} to the pool.`] }
  },
  async status(exchange, helper) {
    const status = await statusOfPool(exchange, helper)
    const [warnings, acl] = [warningsAbout(status), aclFor(exchange)]
    return { json: { ...status, warnings, acl }, text: describe(status, warnings, acl) }
  },
}

/** The peer on its port, and the one for tunnels that hide the port. */
function peersOf(text: string): HostPort[] {
  const { host, port = 443 } = readServer(text)
  return [peerOf(host, port), peerOf(host, 0)]
}

function describe(status: PoolStatus, warnings: readonly string[], acl: string) {
  const { latency, version, eviction, usedMemory, maxMemory, peers, sets, batches, asked, found } = status
  const unknown = 'not known; its user may not ask (+info)'
  const memory =
    usedMemory === null ? unknown : `${bytes(usedMemory)} of ${maxMemory ? bytes(maxMemory) : 'any amount'}`
  return [
    {
      pairs: [
        ['pool', `reachable, answers in ${milliseconds(latency)}`],
        ['server', version ?? unknown],
        ['memory', memory],
        ['eviction', eviction ?? unknown],
        ['persistence', persistence(status) ?? unknown],
        [
          'tickets',
          `${thousands(batches)} ${batches === 1 ? 'batch' : 'batches'}, of ${count(peers, 'peer')}, under ${count(sets, 'binding')}`,
        ],
        [
          'hit rate',
          asked === 0
            ? 'nothing asked for yet'
            : `${thousands(found)} of ${thousands(asked)} (${Math.round((100 * found) / asked)} %) within a week`,
        ],
      ] as const,
    },
    ...warnings.flatMap((warning) => ['', warning]),
    '',
    'What its user needs, and no more:',
    '',
    { verbatim: `  ${acl}` },
  ]
}

function persistence({ appendOnly, lastSnapshot }: PoolStatus): string | undefined {
  if (appendOnly === null) return undefined
  if (appendOnly) return 'every command is logged (AOF)'
  const when = lastSnapshot ? new Date(lastSnapshot * 1000).toISOString().slice(0, 16) : 'never'
  return `no log; last snapshot or start: ${when}`
}

function warningsAbout({ eviction, appendOnly }: PoolStatus): string[] {
  return [
    ...(eviction?.startsWith('allkeys-')
      ? [
          `The policy ${eviction} evicts tickets that are still good. Set maxmemory-policy to volatile-ttl: it evicts those that end first.`,
        ]
      : []),
    ...(appendOnly
      ? [
          'A server that is restored from its log or a snapshot hands out tickets a second time. Switch both off: appendonly no, save "".',
        ]
      : []),
  ]
}

const COMMANDS =
  '+ping +info +select +zadd +zpopmax +zpopmin +zrevrange +zcard +zremrangebyscore +zremrangebyrank +expire +unlink +hincrby +hgetall'

function aclFor({ address }: Exchange): string {
  const cluster = address.kind === 'cluster' ? ' +cluster|slots' : ''
  return `ACL SETUSER ${address.username ?? 'ticketkeep'} on '>PASSWORD' resetkeys '~${address.prefix}*' resetchannels -@all ${COMMANDS}${cluster}`
}
