import { Agent, type AgentOptions, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import { makeAttended } from './attend.ts'
import { splitOptions, type TicketOptions } from './options.ts'

/** Options of an `https.Agent` (Node's documentation), and where tickets are kept. */
export type TicketAgentOptions = AgentOptions & TicketOptions

/**
 * An `https.Agent` that resumes sessions of earlier processes. It goes wherever an `https.Agent` goes: `https.request`, axios
 * (`httpsAgent`), got (`agent.https`), node-fetch and superagent (`agent`), AWS SDK v3 (`NodeHttpHandler`). `keepAlive` and all
 * other options are as Node's. With `maxCachedSessions: 0` it keeps no session, in memory or on disk.
 *
 * An agent with `proxyEnv` goes through its proxy as Node's does, and resumes nothing.
 *
 * @example https.get(url, { agent: new TicketAgent() }, (response) => response.pipe(process.stdout))
 */
export class TicketAgent extends Agent {
  readonly #own: TicketOptions

  /**
   * @param options those of an `https.Agent`, and where tickets are kept
   * @throws {TicketkeepError} `ERR_INVALID_SETTING` where an option of {@link TicketOptions} has a value that means nothing
   */
  constructor(options: TicketAgentOptions = {}) {
    const { given, own } = splitOptions(options)
    super(given)
    this.#own = own
  }

  /**
   * Called by Node for each new connection (Node's documentation, `agent.createConnection`).
   *
   * @param options those of `tls.connect`, as the agent has put them together
   * @param callback as Node's own agent calls it
   * @returns what Node's own agent returns
   * @throws whatever `tls.connect` throws
   */
  override createConnection(
    options: ConnectionOptions,
    callback?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    const create = (all: ConnectionOptions) => super.createConnection(all as RequestOptions, callback)
    // Node then makes a connection to the proxy first. Over a connected socket, what Node is given is seen too late.
    if ((options as { proxyEnv?: unknown }).proxyEnv || options.socket) return create(options)
    const { maxCachedSessions } = this as unknown as { readonly maxCachedSessions?: unknown }
    const prototype = Object.getPrototypeOf(TicketAgent.prototype)
    return makeAttended({ ...options }, this.#own, create, { maxCachedSessions, prototype })
  }
}
