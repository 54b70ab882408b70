import { Agent, type AgentOptions, type RequestOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import { makeAttended } from './attend.ts'
import { splitOptions, type TicketOptions } from './options.ts'

/** The options of `https.Agent` (Node's documentation), and those of {@link TicketOptions}. */
export type TicketAgentOptions = AgentOptions & TicketOptions

/**
 * An `https.Agent` that resumes sessions of earlier processes. It goes wherever an `https.Agent` goes: `https.request`, axios
 * (`httpsAgent`), got (`agent.https`), node-fetch and superagent (`agent`), AWS SDK v3 (`NodeHttpHandler`). `keepAlive` and all
 * other options are as Node's. With `maxCachedSessions: 0` it keeps no session, in memory or on disk.
 *
 * With `proxyEnv` it goes through the proxy as Node's agent does, and resumes nothing.
 *
 * @example https.get(url, { agent: new TicketAgent() }, (response) => response.pipe(process.stdout))
 */
export class TicketAgent extends Agent {
  readonly #own: TicketOptions

  /**
   * @param options those of `https.Agent`, and those of {@link TicketOptions}
   * @throws {TicketkeepError} `ERR_INVALID_SETTING` if an option of {@link TicketOptions} has an invalid value
   */
  constructor(options: TicketAgentOptions = {}) {
    const { given, own } = splitOptions(options)
    super(given)
    this.#own = own
  }

  /**
   * Called by Node for each new connection (Node's documentation, `agent.createConnection`).
   *
   * @param options those of `tls.connect`, as the agent has completed them
   * @param callback called as by Node's own agent
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
