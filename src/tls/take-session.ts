import { Socket } from 'node:net'
import type { HostPort } from '../host-port.ts'
import type { StoredTicket } from '../ticket-entry.ts'
import type { Admission } from './admission.ts'
import type { Call } from './call.ts'
import type { PeerKnowledge } from './peer-knowledge.ts'
import type { Session } from './session.ts'
import type { SessionPool } from './session-pool.ts'
import { sessionToOffer } from './ticket.ts'

/** What a session is taken from. */
interface TakePlace {
  readonly pool: SessionPool
  readonly knowledge: PeerKnowledge
  /** UNIX seconds. */
  readonly now: () => number
}

/** A ticket taken from the pool, and its parsed session. */
export interface Taken {
  readonly ticket: StoredTicket
  readonly session: Session
}

/**
 * Takes a ticket that may be offered to this peer now, or says why there is none.
 * @param address the server's address; undefined if it is not known
 */
export function takeSession(
  peer: HostPort,
  call: Call,
  admission: Admission,
  { pool, knowledge, now }: TakePlace,
  address?: string,
): Taken | string {
  let session: Session | undefined
  const accept = (one: StoredTicket) => {
    session = sessionToOffer(one, admission, now())
    return session !== undefined
  }
  const takesOthers = () => knowledge.mayShareTickets(peer)
  const ticket = pool.take(peer, admission.binding, accept, { address, takesOthers })
  if (!ticket || !session) return 'no ticket'
  // One of TLS 1.2 is used more than once: it is still in the pool.
  if (session.protocol === 'TLSv1.2' && isOverStream(call)) return FRAMED
  return { ticket, session }
}

const FRAMED = 'over a stream of the program, no session of TLS 1.2 is offered'

/**
 * Whether TLS runs over a stream that is not a socket. The program may wrap the handshake in a protocol of its own, as clients
 * of SQL Server do (MS-TDS, 2.2.6.5), and stop at `secureConnect`. In a resumed handshake of TLS 1.2 the client speaks last,
 * after that (RFC 5246, 7.3). In TLS 1.3 the order is the same as in a full handshake.
 */
function isOverStream({ options: { socket } }: Call): boolean {
  return Boolean(socket) && !(socket instanceof Socket)
}
