import type { TLSSocket } from 'node:tls'
import { MAX_AGE, type StoredTicket } from '../ticket-entry.ts'
import type { Trust } from './admission.ts'
import type { Binding } from './binding.ts'
import type { ConnectOptions } from './node-tls.ts'
import { seenChain } from './peer-certificate.ts'
import { contextOrigin } from './secure-contexts.ts'
import type { Session } from './session.ts'

/**
 * The trust of a full handshake that Node has just verified, by what it has shown; undefined where it cannot be read.
 * @param now UNIX seconds
 */
export function seenTrust(
  socket: TLSSocket,
  options: ConnectOptions,
  { strong, weak }: Binding,
  now: number,
): Trust | undefined {
  const chain = seenChain(socket)
  if (!chain) return undefined
  if (options.secureContext && !contextOrigin(options.secureContext)) return undefined // changed since
  const { type, size = 0 } = socket.getEphemeralKeyInfo() as { type?: string; size?: number }
  const binding = chain.strong && (type !== 'DH' || size >= 2048) ? strong : weak
  // Trust ends a day after this moment: earlier where a certificate of the chain ends before that.
  const verifiedAt = Math.min(now, chain.notAfter - MAX_AGE)
  return binding === undefined ? undefined : { certificate: chain.certificate, binding, verifiedAt }
}

/** The trust of a resumed connection is that of the session it was resumed from, if we know that. */
export function inheritedTrust(offered?: StoredTicket, session?: Session): Trust | undefined {
  const { binding, verifiedAtUnixSecs: verifiedAt } = offered ?? {}
  const certificate = session?.peerCertificate
  if (binding === undefined || verifiedAt === undefined || !certificate) return undefined
  // Should the program have set another session since, its certificate tells: each is compared in `ticketFrom`.
  return { certificate, binding, verifiedAt }
}
