const SUPPORTED_GROUPS = 10 // RFC 8446, section 4.2.7
const KEY_SHARE = 51 // RFC 8446, section 4.2.8
const SESSION_TICKET = 35 // RFC 5077
const PRE_SHARED_KEY = 41 // RFC 8446, section 4.2.11

/** Whether a ClientHello, given as its TLS record, offers a session: a ticket (TLS 1.2) or a PSK (TLS 1.3). */
export function offersSession(record: Buffer): boolean {
  return clientHelloExtensions(record).some(
    ({ type, body }) => type === PRE_SHARED_KEY || (type === SESSION_TICKET && body.length > 0),
  )
}

/** The groups of a ClientHello by number and in order: those that it allows and those that it has a key share of. */
export function groupsOf(record: Buffer): { allowed: number[]; shares: number[] } {
  const body = (wanted: number) => clientHelloExtensions(record).find(({ type }) => type === wanted)?.body
  const list = body(SUPPORTED_GROUPS) ?? Buffer.alloc(2)
  const allowed: number[] = []
  for (let at = 2; at < list.length; at += 2) allowed.push(list.readUInt16BE(at))
  const entries = body(KEY_SHARE) ?? Buffer.alloc(2)
  const shares: number[] = []
  for (let at = 2; at < entries.length; at += 4 + entries.readUInt16BE(at + 2))
    shares.push(entries.readUInt16BE(at))
  return { allowed, shares }
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
