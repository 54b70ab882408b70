const SESSION_TICKET = 35 // RFC 5077
const PRE_SHARED_KEY = 41 // RFC 8446, section 4.2.11

/** Whether a ClientHello, given as its TLS record, offers a session: a ticket (TLS 1.2) or a PSK (TLS 1.3). */
export function offersSession(record: Buffer): boolean {
  return clientHelloExtensions(record).some(
    ({ type, body }) => type === PRE_SHARED_KEY || (type === SESSION_TICKET && body.length > 0),
  )
}

export function clientHelloExtensions(record: Buffer): { type: number; body: Buffer }[] {
  let at = 5 + 4 + 2 + 32 // the headers of the record and the message, the version, the random bytes
  at += 1 + record.readUInt8(at) // session id
  at += 2 + record.readUInt16BE(at) // cipher suites
  at += 1 + record.readUInt8(at) // compression methods
  const end = at + 2 + record.readUInt16BE(at)
  const extensions: { type: number; body: Buffer }[] = []
  for (at += 2; at < end; ) {
    const length = record.readUInt16BE(at + 2)
    extensions.push({ type: record.readUInt16BE(at), body: record.subarray(at + 4, at + 4 + length) })
    at += 4 + length
  }
  return extensions
}
