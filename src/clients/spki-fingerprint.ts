import type { X509Certificate } from 'node:crypto'
import { TicketkeepError } from '../errors.ts'
import { spkiFingerprint as fingerprintOf, readCertificate } from '../tls/certificate.ts'

/**
 * What {@link TicketEntry.spkiFp} holds: the SHA-256 of a certificate's SubjectPublicKeyInfo, 32 bytes (RFC 7469, 2.4).
 *
 * @param certificate DER, an `X509Certificate`, or what `socket.getPeerCertificate()` returns
 * @returns 32 bytes
 * @throws {TicketkeepError} `ERR_INVALID_CERTIFICATE` if it is not one X.509 certificate in DER
 * @example spkiFingerprint(socket.getPeerCertificate())
 */
export function spkiFingerprint(
  certificate: Uint8Array | X509Certificate | { readonly raw: Uint8Array },
): Uint8Array {
  const der = certificate instanceof Uint8Array ? certificate : certificate?.raw
  const read = der instanceof Uint8Array ? readCertificate(der) : undefined
  if (!read) throw new TicketkeepError('ERR_INVALID_CERTIFICATE', 'not one X.509 certificate in DER')
  return new Uint8Array(fingerprintOf(read))
}
