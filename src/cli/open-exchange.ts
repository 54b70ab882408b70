import { factsOf } from '../key-sources.ts'
import { fetchKeys, waitFor } from '../keys/chain.ts'
import { takeSubkeys, wipeKeys } from '../keys/key-source.ts'
import { type PoolAddress, readPoolAddress } from '../pool/address.ts'
import type { Exchange } from '../pool/exchange.ts'
import { type Environment, poolUrl, type Settings } from '../settings.ts'
import { storeDirectory } from '../store/private-directory.ts'
import { TicketStore } from '../store/ticket-store.ts'
import { Failure } from './command.ts'
import { requireDirectory, requireEnabled } from './open-store.ts'

/** What to do if the client is missing, which is an optional peer dependency. */
export const INSTALL_CLIENT =
  'a pool needs the npm package iovalkey, which is not installed; install it beside ticketkeep: npm install iovalkey, with -g if ticketkeep is installed with -g'

/**
 * The pool that the option names, or else the environment. Undefined if neither does.
 * @throws {TicketkeepError} `ERR_INVALID_SETTING`
 */
export function findPool(option: string | undefined, env: Environment): PoolAddress | undefined {
  if (option !== undefined) return readPoolAddress(option, '--pool')
  const url = poolUrl(env)
  return url === undefined ? undefined : readPoolAddress(url, 'TICKETKEEP_POOL')
}

/**
 * Opens the store and the key for exchanging tickets with a pool.
 * @throws {Failure} if there is no fleet key or the policy forbids pools: one sentence that says what to do
 */
export async function openExchange(address: PoolAddress, settings: Settings): Promise<Exchange> {
  const { policy, cipher, reuse, hosts, maxAge } = requireEnabled(settings)
  if (policy.rules.pool === false) throw new Failure(`the policy ${policy.path} forbids a pool`)
  const directory = requireDirectory(storeDirectory(settings.directory))
  const { source, keys, reason } = await waitFor(fetchKeys, settings.key)
  if (!factsOf(source).isSetByUser) {
    wipeKeys(keys)
    throw new Failure(
      `a pool needs the key of a fleet, and a key in the ${source} is that of one user; give this machine the fleet's by TICKETKEEP_KEY_FILE, TICKETKEEP_KEY_COMMAND, TICKETKEEP_KEY or a systemd credential`,
    )
  }
  if (!keys) throw new Failure(`a pool cannot be used without the key of the fleet (${source}: ${reason})`)
  const [subkeys, ...previous] = takeSubkeys(keys)
  const store = new TicketStore({ directory, subkeys, previous, cipher, reuse, hosts, maxAge })
  return { address, keys: subkeys, cipher, store }
}

/** The name of a job in a CI system. Its list of servers is stored under this name. */
export function jobName(option: string | undefined, env: Environment): string {
  const named = [
    [env.GITHUB_REPOSITORY, env.GITHUB_WORKFLOW, env.GITHUB_JOB],
    [env.CI_PROJECT_PATH, env.CI_JOB_NAME],
  ].find((parts) => parts.every(Boolean))
  return option ?? named?.join(' ') ?? 'default'
}
