import { createCipheriv, createDecipheriv, createHash, createHmac, getFips } from 'node:crypto'
import type { CipherName } from '../ciphers.ts'
import { equal, part, toBase64, wipe } from '../common/bytes.ts'
import type { Issuers } from '../ticket-entry.ts'
import { type Batch, decodeBatch, decodeIssuers, encodeBatch, encodeIssuers } from './batch-bytes.ts'
import { type Counts, decodeCounts, encodeCounts } from './counts-text.ts'
import { decodeFailure, encodeFailure, type Failure } from './failure-text.ts'
import type { Subkeys } from './subkeys.ts'

/** The maximum size of a sealed file in bytes: enough for the largest batch and its issuers. */
export const MAX_FILE_BYTES = 262_144

/** Returns this many random bytes. */
type Random = (bytes: number) => Uint8Array

const MAGIC = 'ticketkeep/v1'

/** The format of a file. Each box is the base64 of a nonce and a ciphertext. */
interface FileJson {
  magic: typeof MAGIC
  cipher: CipherName
  box: string
  issuers?: string | undefined
}

/**
 * The cipher that boxes are sealed with. In FIPS mode, which has no XSalsa20, it is AES-256-GCM, and no other is
 * opened.
 */
export const cipherInForce = (wanted: CipherName): CipherName => (getFips() === 1 ? 'aes-256-gcm' : wanted)

/**
 * Seals a batch as the text of a file: `{"magic":"ticketkeep/v1","cipher":"…","box":"…","issuers":"…"}`.
 *
 * The issuers are in a separate box, which is opened only if a program asks for them: this saves a short-lived process
 * 2 to 4 ms when sealing and opening. The first box contains the SHA-256 of the second, so if the second is tampered
 * with, the whole file is rejected.
 *
 * @throws if the issuers are too many or too long, or the keys are wiped
 */
export function sealBatch(batch: Batch, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const issuers = issuersBox(batch, subkeys, cipher, random)
  const issuersDigest = issuers === undefined ? undefined : digest(issuers)
  const box = sealBox(encodeBatch({ batch, issuersDigest }), subkeys, cipher, random)
  return fileText({ magic: MAGIC, cipher, box, issuers })
}

/**
 * Opens what `sealBatch` wrote with these subkeys. Undefined for any other text. The caller must compare the batch's
 * peer and binding with what it asked for.
 */
export function openBatch(text: string, subkeys: Subkeys): Batch | undefined {
  const file = parseFile(text)
  if (file === undefined) return undefined
  const boxed = openBox(file.box, subkeys, file.cipher, decodeBatch)
  if (boxed === undefined || boxed.batch.kid !== subkeys.kid) return undefined
  const { batch, issuersDigest } = boxed
  if (file.issuers === undefined) return issuersDigest === undefined ? batch : undefined
  if (issuersDigest === undefined || !equal(issuersDigest, digest(file.issuers))) return undefined
  const issuers = openedLater(file.issuers, subkeys, file.cipher)
  return { ...batch, tickets: batch.tickets.map((ticket) => ({ ...ticket, issuers })) }
}

/** Seals a failure as the text of a file, in the same format as a batch. */
export function sealFailure(failure: Failure, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const box = sealBox(encodeFailure(failure), subkeys, cipher, random)
  return fileText({ magic: MAGIC, cipher, box })
}

/** Opens what `sealFailure` wrote with these subkeys. Undefined for any other text. */
export function openFailure(text: string, subkeys: Subkeys): Failure | undefined {
  const file = parseFile(text)
  const failure = file && openBox(file.box, subkeys, file.cipher, decodeFailure)
  return failure?.kid === subkeys.kid ? failure : undefined
}

/** Seals counts as a line of text, in the same format as a batch. */
export function sealCounts(counts: Counts, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const box = sealBox(encodeCounts(counts), subkeys, cipher, random)
  return fileText({ magic: MAGIC, cipher, box })
}

/** Opens what `sealCounts` wrote with these subkeys. Undefined for any other text. */
export function openCounts(text: string, subkeys: Subkeys): Counts | undefined {
  const file = parseFile(text)
  return file && openBox(file.box, subkeys, file.cipher, decodeCounts)
}

/** The sealed form of issuers that came from a file. They are copied to the next file without being opened. */
const sealedIssuers = new WeakMap<
  Issuers,
  { readonly kid: string; readonly cipher: CipherName; readonly box: string }
>()

function issuersBox({ tickets }: Batch, subkeys: Subkeys, cipher: CipherName, random: Random) {
  const { issuers } = tickets[0]!
  if (issuers === undefined) return undefined
  const sealed = sealedIssuers.get(issuers)
  if (sealed?.kid === subkeys.kid && sealed.cipher === cipher) return sealed.box
  return sealBox(encodeIssuers(issuers()), subkeys, cipher, random)
}

function openedLater(box: string, subkeys: Subkeys, cipher: CipherName): Issuers {
  let opened: readonly Uint8Array[] | undefined
  const issuers = () => {
    opened ??= openBox(box, subkeys, cipher, decodeIssuers)
    if (opened === undefined) throw new Error('the issuers cannot be opened')
    return opened
  }
  sealedIssuers.set(issuers, { kid: subkeys.kid, cipher, box })
  return issuers
}

const fileText = ({ magic, cipher, box, issuers }: FileJson) =>
  JSON.stringify({ magic, cipher, box, issuers })

/** Rejects everything that `fileText` would not write, and a cipher that is not in force. */
function parseFile(text: string): FileJson | undefined {
  try {
    const file = JSON.parse(text) as FileJson
    const { magic, cipher, box, issuers } = file
    const isFile =
      magic === MAGIC &&
      Object.hasOwn(CIPHERS, cipher) &&
      cipherInForce(cipher) === cipher &&
      typeof box === 'string' &&
      (issuers === undefined || typeof issuers === 'string')
    return isFile && fileText(file) === text ? file : undefined
  } catch {
    return undefined
  }
}

interface Cipher {
  readonly nonceBytes: number
  seal(plain: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array
  /** Null if the box was not sealed with this nonce and key. */
  open(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | null
}

// Loaded on demand: it takes milliseconds, which a process with the other cipher need not spend.
const nacl = () => require('tweetnacl') as typeof import('tweetnacl')

const CIPHERS: Readonly<Record<CipherName, Cipher>> = {
  'xsalsa20-poly1305': {
    nonceBytes: 24,
    seal: (plain, nonce, key) => nacl().secretbox(plain, nonce, key),
    open: (box, nonce, key) => nacl().secretbox.open(box, nonce, key),
  },
  'aes-256-gcm': { nonceBytes: 12, seal: sealAes, open: openAes },
}

/** The length of the authentication tag of both ciphers, in bytes. */
export const TAG_BYTES = 16

function sealBox(plain: Uint8Array, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const nonce = nonceFor(plain, subkeys, cipher, random)
  const box = CIPHERS[cipher].seal(plain, nonce, subkeys.sealKey(cipher))
  wipe(plain)
  return toBase64(Buffer.concat([nonce, box]))
}

/**
 * A random nonce: HMAC-SHA-256 over 32 random bytes and the plaintext. It differs for each plaintext even if the
 * program replaced the random source, as tests do. A nonce used twice under one key would reveal what is sealed.
 */
function nonceFor(plain: Uint8Array, subkeys: Subkeys, cipher: CipherName, random: Random): Uint8Array {
  const mac = createHmac('sha256', subkeys.nonceKey).update(random(32)).update(plain).digest()
  return part(mac, 0, CIPHERS[cipher].nonceBytes)
}

function openBox<T>(
  base64: string,
  subkeys: Subkeys,
  cipher: CipherName,
  decode: (plain: Uint8Array) => T | undefined,
): T | undefined {
  const { nonceBytes, open } = CIPHERS[cipher]
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.length < nonceBytes + TAG_BYTES || toBase64(bytes) !== base64) return undefined
  const plain = open(part(bytes, nonceBytes), part(bytes, 0, nonceBytes), subkeys.sealKey(cipher))
  if (plain === null) return undefined
  const decoded = decode(plain)
  wipe(plain)
  return decoded
}

/** AES-256-GCM: the ciphertext, followed by the tag. */
export function sealAes(plain: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** Opens what `sealAes` sealed with this nonce and key. Null for anything else. */
export function openAes(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | null {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAuthTag(box.subarray(-TAG_BYTES))
  const plain = decipher.update(box.subarray(0, -TAG_BYTES))
  try {
    decipher.final()
    return plain
  } catch {
    wipe(plain)
    return null
  }
}

const digest = (box: string): Uint8Array => createHash('sha256').update(box, 'latin1').digest()
