import type { TlsVersion } from './nginx.ts'

/** The answer of a server to a ClientHello. */
export interface Answer {
  readonly version: TlsVersion
  readonly isResumed: boolean
}

const HANDSHAKE_RECORD = 22
const [SERVER_HELLO, CERTIFICATE] = [2, 11]
const [PRE_SHARED_KEY, SUPPORTED_VERSIONS] = [41, 43] // RFC 8446, section 4.2
/** The random bytes of a HelloRetryRequest: RFC 8446, section 4.1.3. */
const RETRY = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c'

/**
 * Reads the answer from everything that a server has sent so far on one connection. Plain text before it (STARTTLS) is skipped.
 * Undefined until enough was sent.
 */
export function readAnswer(sent: Buffer): Answer | undefined {
  for (let at = startOfTls(sent); at !== -1 && at + 5 <= sent.length; ) {
    const end = at + 5 + sent.readUInt16BE(at + 3)
    if (sent[at] === HANDSHAKE_RECORD && sent[at + 5] === SERVER_HELLO) {
      const { messages, isMore } = messagesFrom(sent, at)
      const hello = messages[0]
      if (!hello) return undefined
      if (hello.subarray(6, 38).toString('hex') !== RETRY) return answerOf(hello, messages[1], isMore)
    }
    at = end
  }
  return undefined
}

/** TLS 1.3: the server has selected the offered key. TLS 1.2: it continues without a certificate. */
function answerOf(hello: Buffer, next: Buffer | undefined, isMore: boolean): Answer | undefined {
  const extensions = extensionsOf(hello)
  if (extensions.includes(SUPPORTED_VERSIONS))
    return { version: 'TLSv1.3', isResumed: extensions.includes(PRE_SHARED_KEY) }
  if (!next && isMore) return undefined
  return { version: 'TLSv1.2', isResumed: next?.[0] !== CERTIFICATE }
}

/** The offset of the record with a ServerHello. */
function startOfTls(sent: Buffer): number {
  for (let at = 0; at + 6 <= sent.length; at++) {
    const isHello = sent[at] === HANDSHAKE_RECORD && sent[at + 1] === 3 && sent[at + 5] === SERVER_HELLO
    if (isHello && sent[at + 2]! <= 4) return at
  }
  return -1
}

/** The handshake messages in the records from here to a record of another type. `isMore` if that has not come yet. */
function messagesFrom(sent: Buffer, start: number): { messages: Buffer[]; isMore: boolean } {
  const parts: Buffer[] = []
  let at = start
  for (; at + 5 <= sent.length && sent[at] === HANDSHAKE_RECORD; at += 5 + sent.readUInt16BE(at + 3)) {
    parts.push(sent.subarray(at + 5, at + 5 + sent.readUInt16BE(at + 3)))
  }
  const bytes = Buffer.concat(parts)
  const messages: Buffer[] = []
  for (let from = 0; from + 4 <= bytes.length; ) {
    const length = 4 + bytes.readUIntBE(from + 1, 3)
    messages.push(bytes.subarray(from, from + length))
    from += length
  }
  return { messages, isMore: at + 5 > sent.length }
}

function extensionsOf(hello: Buffer): number[] {
  const types: number[] = []
  let at = 4 + 2 + 32 // the header of the message, the version, the random bytes
  at += 1 + hello.readUInt8(at) + 2 + 1 // session id, cipher suite, compression method
  for (at += 2; at + 4 <= hello.length; at += 4 + hello.readUInt16BE(at + 2))
    types.push(hello.readUInt16BE(at))
  return types
}
