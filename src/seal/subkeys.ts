import { hash } from 'node:crypto'
import { wipe } from '../common/bytes.ts'
import type { HostPort } from '../host-port.ts'
import type { CipherName } from '../settings.ts'

/**
 * What is derived from one master key: the keys that seal, the key that names files, and the public `kid`.
 * The keys are private fields, which neither `util.inspect` nor JSON can reach.
 */
export class Subkeys {
  /** 64 bits that tell one master key's files from another's, as 11 base64url characters. Not secret. */
  readonly kid: string
  /** No more than all the keys that come of it: the master key it does not tell. Undefined once it is wiped. */
  #pseudorandom: Uint8Array | undefined
  readonly #index: Uint8Array
  #seal: Partial<Record<CipherName, Uint8Array>> = {}

  /** @internal Use `deriveSubkeys`. */
  constructor(pseudorandom: Uint8Array) {
    this.#pseudorandom = pseudorandom
    this.kid = expand(pseudorandom, 'kid').toString('base64url', 0, 8)
    this.#index = expand(pseudorandom, 'index')
  }

  /**
   * The 32 bytes with which records are sealed. Not a copy: the caller leaves it as it is.
   * @throws once they are wiped
   */
  sealKey(cipher: CipherName): Uint8Array {
    if (!this.#pseudorandom) throw new Error('the keys are wiped')
    return (this.#seal[cipher] ??= expand(this.#pseudorandom, PURPOSES[cipher]))
  }

  /** What stands for a peer in a file's name: 128 bits as 22 base64url characters. */
  peerName(peer: HostPort): string {
    return this.#name(`${peer.host}:${peer.port}`, 16)
  }

  /** What stands for a binding in a file's name: 64 bits as 11 base64url characters. */
  bindingName(binding: string): string {
    return this.#name(binding, 8)
  }

  /** Overwrites the keys. Nothing can be sealed afterwards, and what is named is worthless. */
  wipe(): void {
    for (const key of [this.#pseudorandom, this.#index, ...Object.values(this.#seal)]) if (key) wipe(key)
    this.#pseudorandom = undefined
    this.#seal = {}
  }

  #name(text: string, bytes: number): string {
    return hmac(this.#index, text).toString('base64url', 0, bytes)
  }
}

/**
 * The master key itself is not kept: the caller wipes it.
 * @param master 32 bytes
 */
export function deriveSubkeys(master: Uint8Array): Subkeys {
  // HKDF-SHA-256 (RFC 5869) with an empty salt. By hand, since every output is one block, and hkdfSync costs
  // twice as much in a process that has only just started.
  return new Subkeys(hmac(new Uint8Array(), master))
}

const PURPOSES: Readonly<Record<CipherName, string>> = {
  'xsalsa20-poly1305': 'seal',
  'aes-256-gcm': 'seal aes-256-gcm',
}

const expand = (pseudorandom: Uint8Array, purpose: string) =>
  hmac(pseudorandom, `ticketkeep/v1 ${purpose}\x01`)

const BLOCK_BYTES = 64
const DIGEST_BYTES = 32

/**
 * HMAC-SHA-256 (RFC 2104) under a key of at most 32 bytes. `createHmac` makes key objects and streams, which
 * cost a process that has only just started more than all that is hashed here.
 */
function hmac(key: Uint8Array, message: Uint8Array | string): Buffer {
  const bytes = typeof message === 'string' ? Buffer.from(message, 'utf8') : message
  const inner = new Uint8Array(BLOCK_BYTES + bytes.length).fill(0x36, 0, BLOCK_BYTES)
  const outer = new Uint8Array(BLOCK_BYTES + DIGEST_BYTES).fill(0x5c)
  const { length } = key
  for (let i = 0; i < length; i++) {
    inner[i]! ^= key[i]!
    outer[i]! ^= key[i]!
  }
  inner.set(bytes, BLOCK_BYTES)
  outer.set(hash('sha256', inner, 'buffer'), BLOCK_BYTES)
  const mac = hash('sha256', outer, 'buffer')
  wipe(inner)
  wipe(outer)
  return mac
}
