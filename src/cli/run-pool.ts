import { unixNow } from '../common/clock.ts'
import { giveToPool, takeFromPool } from '../pool/exchange.ts'
import { PoolHelper, PoolUnusable } from '../pool/helper.ts'
import { type Environment, isDisabled, readSettings } from '../settings.ts'
import type { Input } from './command.ts'
import { findPool, INSTALL_CLIENT, jobName, openExchange } from './open-exchange.ts'
import { count, renderError } from './render.ts'

/** The pool in `run`. Whatever happens to the pool, the command runs. */
export interface RunPool {
  /** Gives the remaining tickets back, and reports the result if a summary was requested. Never rejects. */
  giveBack(): Promise<void>
}

/**
 * Takes tickets for a command from the pool that an option or the environment names.
 * @param env of the command: the URL of the pool, which may contain a password, is removed from it
 * @throws {TicketkeepError} for an option that is not the URL of a pool
 */
export async function takeForRun(
  { options, json }: Input,
  env: Record<string, string | undefined>,
): Promise<RunPool | undefined> {
  const ours: Environment = { ...env }
  delete env.TICKETKEEP_POOL
  const option = options.pool as string | undefined
  if (isDisabled(ours)) return undefined
  let [taken, given, problem] = [0, 0, undefined as string | undefined]
  const job = jobName(options.job as string | undefined, ours)
  const address = optional(() => findPool(option, ours), option)
  const open = async () => {
    if (address instanceof Error) throw address
    if (address === undefined) return undefined
    const helper = new PoolHelper(address)
    try {
      const exchange = await openExchange(address, readSettings(ours))
      taken = await takeFromPool(exchange, helper, { job }, unixNow())
      return exchange
    } catch (error) {
      helper.end()
      throw error
    }
  }
  const exchange = await open().catch((error: unknown) => {
    problem = sentence(error)
  })
  if (address === undefined) return undefined
  return {
    async giveBack() {
      // A pool that has delayed the job once must not delay it again.
      if (exchange) {
        try {
          const done = await giveToPool(exchange, new PoolHelper(exchange.address), job, unixNow())
          given = done.given
          problem = done.refused
        } catch (error) {
          problem = sentence(error)
        }
      }
      if (!options.summary && !json) return
      const line = `pool: ${count(taken, 'ticket')} taken, ${count(given, 'ticket')} given${problem ? `; ${problem}` : ''}`
      process.stderr.write(
        json
          ? `${JSON.stringify({ pool: { taken, given, problem: problem ?? null } })}\n`
          : renderError(line),
      )
    },
  }
}

/** A wrong option is an error. A wrong variable must not keep the command from running. */
function optional<T>(work: () => T, option: string | undefined): T | Error {
  try {
    return work()
  } catch (error) {
    if (option !== undefined) throw error
    return error as Error
  }
}

function sentence(error: unknown): string {
  if (error instanceof PoolUnusable && error.isMissing) return INSTALL_CLIENT
  return error instanceof Error ? error.message : String(error)
}
