import { createCipheriv, createDecipheriv } from 'node:crypto'
import { part, toBase64, wipe } from '../common/bytes.ts'
import type { CipherName } from '../settings.ts'
import { decodeRecord, encodeRecord, type SealedRecord, USUAL_RECORD_BYTES } from './record.ts'
import { keyStream, openWith, sealWith, TAG_BYTES } from './secretbox.ts'
import type { Subkeys } from './subkeys.ts'

/** How many random bytes a `Sealing` wants as its nonce. */
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

/** Seals one record. */
export class Sealing {
  readonly #subkeys: Subkeys
  readonly #cipher: CipherName
  #nonce: Uint8Array | undefined
  #stream: Uint8Array | undefined

  /** @param nonce random bytes, never used twice with the same keys: `NONCE_BYTES` of them */
  constructor(subkeys: Subkeys, cipher: CipherName, nonce: Uint8Array) {
    this.#subkeys = subkeys
    this.#cipher = cipher
    this.#nonce = nonce
  }

  /** Does ahead what needs no record. */
  prepare(): void {
    if (this.#nonce && this.#cipher === 'xsalsa20-poly1305') {
      this.#stream ??= keyStream(USUAL_RECORD_BYTES, this.#nonce, this.#subkeys.sealKey(this.#cipher))
    }
  }

  /**
   * A ticket as a file's text: `{"magic":"ticketkeep/v1","box":"<base64 of nonce and ciphertext>"}`, with
   * `"cipher":"aes-256-gcm"` in between where that is the cipher.
   * @throws the second time: nothing else may be sealed with this nonce
   */
  seal(record: Omit<SealedRecord, 'kid'>): string {
    const nonce = this.#nonce
    if (!nonce) throw new Error('a nonce is for one record')
    this.#nonce = undefined
    const plain = encodeRecord({ ...record, kid: this.#subkeys.kid })
    const box = this.#cipher === 'aes-256-gcm' ? this.#sealAes(plain, nonce) : this.#sealNacl(plain, nonce)
    wipe(plain)
    // A nonce's length is a multiple of three bytes, so that its base64 goes before the box's.
    return HEADS[this.#cipher] + toBase64(nonce) + toBase64(box) + TAIL
  }

  #sealNacl(plain: Uint8Array, nonce: Uint8Array): Uint8Array {
    const ahead = this.#stream
    this.#stream = undefined
    const stream =
      ahead && plain.length === USUAL_RECORD_BYTES
        ? ahead
        : keyStream(plain.length, nonce, this.#subkeys.sealKey('xsalsa20-poly1305'))
    const box = sealWith(stream, plain)
    wipe(stream)
    if (ahead) wipe(ahead)
    return box
  }

  #sealAes(plain: Uint8Array, nonce: Uint8Array): Uint8Array {
    const cipher = createCipheriv('aes-256-gcm', this.#subkeys.sealKey('aes-256-gcm'), nonce)
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }
}

/**
 * What a `Sealing` wrote with these subkeys, or undefined for any other text. The caller compares the record's peer
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

function openNacl(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  const stream = keyStream(box.length - TAG_BYTES, nonce, key)
  const plain = openWith(stream, box)
  wipe(stream)
  return plain
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
