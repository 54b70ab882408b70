import { statusOfPool } from '../pool/exchange.ts'
import { PoolHelper } from '../pool/helper.ts'
import type { Settings } from '../settings.ts'
import { findPool, openExchange } from './open-exchange.ts'
import { milliseconds } from './render.ts'

/** Checks whether the pool that the environment names can be used, and describes it for people. */
export async function examinePool(settings: Settings): Promise<{ reachable: boolean; words: string }> {
  try {
    const address = findPool(undefined, process.env)!
    const exchange = await openExchange(address, settings)
    const { latency } = await statusOfPool(exchange, new PoolHelper(address))
    const words = `reachable, answers in ${milliseconds(latency)}; "ticketkeep pool status" says more`
    return { reachable: true, words }
  } catch (error) {
    return { reachable: false, words: `cannot be used now: ${(error as Error).message}` }
  }
}
