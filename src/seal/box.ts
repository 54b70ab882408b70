import { createCipheriv, createDecipheriv, createHash, createHmac, getFips } from 'node:crypto'
import type { CipherName } from '../ciphers.ts'
import { equal, part, toBase64, wipe } from '../common/bytes.ts'
import type { Issuers } from '../ticket-entry.ts'
import { type Batch, decodeBatch, decodeIssuers, encodeBatch, encodeIssuers } from './batch-bytes.ts'
import { type Counts, decodeCounts, encodeCounts } from './counts-text.ts'
import { decodeFailure, encodeFailure, type Failure } from './failure-text.ts'
import type { Subkeys } from './subkeys.ts'

/** A sealed file is never longer than this, in bytes: room for the largest batch and its issuers. */
export const MAX_FILE_BYTES = 262_144

/** Gives this many random bytes. */
type Random = (bytes: number) => Uint8Array

const MAGIC = 'ticketkeep/v1'

/** The shape of a file. Each box is the base64 of its nonce and its ciphertext. */
interface FileJson {
  magic: typeof MAGIC
  cipher: CipherName
  box: string
  issuers?: string | undefined
}

/** With which cipher boxes are sealed, and the only one that is opened in FIPS mode, which knows no XSalsa20. */
export const cipherInForce = (wanted: CipherName): CipherName => (getFips() === 1 ? 'aes-256-gcm' : wanted)

/**
 * A batch as a file's text: `{"magic":"ticketkeep/v1","cipher":"…","box":"…","issuers":"…"}`. The issuers are in
 * a box of their own, opened only when a program asks for them: together they would take a short process
 * 2 to 4 ms longer to open and to seal. The first box holds the SHA-256 of the second, so that one that was
 * tampered with is refused as a whole.
 *
 * @throws where the issuers are too many or too long, or the keys are wiped
 */
export function sealBatch(batch: Batch, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const issuers = issuersBox(batch, subkeys, cipher, random)
  const issuersDigest = issuers === undefined ? undefined : digest(issuers)
  const box = sealBox(encodeBatch({ batch, issuersDigest }), subkeys, cipher, random)
  return fileText({ magic: MAGIC, cipher, box, issuers })
}

/**
 * What `sealBatch` wrote with these subkeys, or undefined for any other text. The caller compares the batch's peer
 * and binding with what it asked for.
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

/** A failure as a file's text, which has the form of a batch's. */
export function sealFailure(failure: Failure, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const box = sealBox(encodeFailure(failure), subkeys, cipher, random)
  return fileText({ magic: MAGIC, cipher, box })
}

/** What `sealFailure` wrote with these subkeys, or undefined for any other text. */
export function openFailure(text: string, subkeys: Subkeys): Failure | undefined {
  const file = parseFile(text)
  const failure = file && openBox(file.box, subkeys, file.cipher, decodeFailure)
  return failure?.kid === subkeys.kid ? failure : undefined
}

/** What processes did as a line of text, which has the form of a batch's. */
export function sealCounts(counts: Counts, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const box = sealBox(encodeCounts(counts), subkeys, cipher, random)
  return fileText({ magic: MAGIC, cipher, box })
}

/** What `sealCounts` wrote with these subkeys, or undefined for any other text. */
export function openCounts(text: string, subkeys: Subkeys): Counts | undefined {
  const file = parseFile(text)
  return file && openBox(file.box, subkeys, file.cipher, decodeCounts)
}

/** How issuers that came out of a file are sealed there: they go into the next file as they are, unopened. */
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

/** Refuses all that `fileText` would not have written, and a cipher that is not in force. */
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
  /** Null where it was not sealed with this nonce and key. */
  open(box: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array | null
}

// Loading it takes milliseconds, which a process with the other cipher need not pay.
const nacl = () => require('tweetnacl') as typeof import('tweetnacl')

const CIPHERS: Readonly<Record<CipherName, Cipher>> = {
  'xsalsa20-poly1305': {
    nonceBytes: 24,
    seal: (plain, nonce, key) => nacl().secretbox(plain, nonce, key),
    open: (box, nonce, key) => nacl().secretbox.open(box, nonce, key),
  },
  'aes-256-gcm': { nonceBytes: 12, seal: sealAes, open: openAes },
}

/** Bytes of the tag of either cipher. */
export const TAG_BYTES = 16

function sealBox(plain: Uint8Array, subkeys: Subkeys, cipher: CipherName, random: Random): string {
  const nonce = nonceFor(plain, subkeys, cipher, random)
  const box = CIPHERS[cipher].seal(plain, nonce, subkeys.sealKey(cipher))
  wipe(plain)
  return toBase64(Buffer.concat([nonce, box]))
}

/**
 * Random, and different for each plaintext even where a program has replaced the source of random numbers, as tests do:
 * HMAC-SHA-256 of 32 random bytes and the plaintext. A nonce that repeats under one key would reveal what is sealed.
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

/** AES-256-GCM: the ciphertext, and behind it the tag. */
export function sealAes(plain: Uint8Array, nonce: Uint8Array, key: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce)
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** What `sealAes` has sealed with this nonce and key; null for anything else. */
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
