import { createCipheriv, createDecipheriv } from 'node:crypto'
import { part, toBase64, wipe } from '../bytes.ts'
import type { CipherName } from '../settings.ts'
import { decodeRecord, encodeRecord, type SealedRecord } from './record.ts'
import type { Subkeys } from './subkeys.ts'

/** How many random bytes `seal` wants as its nonce. */
export const NONCE_BYTES: Readonly<Record<CipherName, number>> = {
  'xsalsa20-poly1305': 24,
  'aes-256-gcm': 12,
}

/** A sealed file is never longer than this: room for the longest ticket, host and binding. */
export const MAX_FILE_BYTES = 131_072

const HEADS: Readonly<Record<CipherName, string>> = {
  'xsalsa20-poly1305': '{"magic":"ticketkeep/v1","box":"',
  'aes-256-gcm': '{"magic":"ticketkeep/v1","cipher":"aes-256-gcm","box":"',
}
const TAIL = '"}'
const TAG_BYTES = 16

/**
 * A ticket as a file's text: `{"magic":"ticketkeep/v1","box":"<base64 of nonce and ciphertext>"}`, with
 * `"cipher":"aes-256-gcm"` in between where that is the cipher.
 * @param nonce random bytes, never used twice with the same keys: `NONCE_BYTES` of them
 */
export function seal(
  record: Omit<SealedRecord, 'kid'>,
  subkeys: Subkeys,
  cipher: CipherName,
  nonce: Uint8Array,
): string {
  const plain = encodeRecord({ ...record, kid: subkeys.kid })
  const key = subkeys.sealKey(cipher)
  const box = cipher === 'aes-256-gcm' ? sealAes(plain, nonce, key) : sealNacl(plain, nonce, key)
  wipe(plain)
  // A nonce's length is a multiple of three bytes, so that its base64 goes before the box's.
  return HEADS[cipher] + toBase64(nonce) + toBase64(box) + TAIL
}

/**
 * What `seal` wrote with these subkeys, or undefined for any other text. The caller compares the record's peer
 * and binding with what it asked for.
 */
export function open(text: string, subkeys: Subkeys): SealedRecord | undefined {
  const cipher = text.startsWith(HEADS['aes-256-gcm']) ? 'aes-256-gcm' : 'xsalsa20-poly1305'
  const head = HEADS[cipher]
  if (!text.startsWith(head) || !text.endsWith(TAIL)) return undefined
  const base64 = text.slice(head.length, -TAIL.length)
  const bytes = Buffer.from(base64, 'base64')
  const nonceBytes = NONCE_BYTES[cipher]
  if (bytes.length < nonceBytes + TAG_BYTES || bytes.toString('base64') !== base64) return undefined
  const key = subkeys.sealKey(cipher)
  const nonce = part(bytes, 0, nonceBytes)
  const box = part(bytes, nonceBytes)
  const plain = cipher === 'aes-256-gcm' ? openAes(box, nonce, key) : openNacl(box, nonce, key)
  if (plain === undefined) return undefined
  const record = decodeRecord(plain)
  wipe(plain)
  return record?.kid === subkeys.kid ? record : undefined
}

// tweetnacl takes milliseconds to load, which those who chose the other cipher need not pay. And its secretbox
// copies byte by byte, which costs a short process a third of the work; so here the calls that it makes itself.
const nacl = () => (require('tweetnacl') as unknown as { lowlevel: LowLevel }).lowlevel

interface LowLevel {
  /** NaCl's own interface: both arrays begin with bytes that are zero, 32 before a plain text, 16 before a box. */
  crypto_secretbox(box: Uint8Array, plain: Uint8Array, length: number, nonce: Uint8Array, key: Uint8Array): 0
  crypto_secretbox_open(
    plain: Uint8Array,
    box: Uint8Array,
    length: number,
    nonce: Uint8Array,
    key: Uint8Array,
  ): 0 | -1
}

const PLAIN_START = 32
const BOX_START = 16

function sealNacl(plain: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  const length = PLAIN_START + plain.length
  const padded = new Uint8Array(length)
  const box = new Uint8Array(length)
  padded.set(plain, PLAIN_START)
  nacl().crypto_secretbox(box, padded, length, nonce, key)
  wipe(padded)
  return box.subarray(BOX_START)
}

function openNacl(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  const length = BOX_START + box.length
  const padded = new Uint8Array(length)
  const plain = new Uint8Array(length)
  padded.set(box, BOX_START)
  if (nacl().crypto_secretbox_open(plain, padded, length, nonce, key) !== 0) return undefined
  return plain.subarray(PLAIN_START)
}

function sealAes(plain: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function openAes(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(box.subarray(-TAG_BYTES))
  const plain = decipher.update(box.subarray(0, -TAG_BYTES))
  try {
    decipher.final()
    return plain
  } catch {
    wipe(plain)
    return undefined
  }
}
