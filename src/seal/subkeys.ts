import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import type { CipherName } from '../ciphers.ts'
import { toBase64, wipe } from '../common/bytes.ts'
import type { HostPort } from '../host-port.ts'

/** The most names that are cached. */
const MAX_NAMES = 1024

/**
 * The keys derived from one master key: the keys that seal, the key that names files, and the public `kid`. They are
 * private fields, which `util.inspect` and JSON cannot read.
 */
export class Subkeys {
  /** The key ID: 64 bits that identify the files of a master key, as 11 base64url characters. Not secret. */
  readonly kid: string
  /** HKDF's pseudorandom key: all subkeys can be derived from it, but not the master key. Undefined once wiped. */
  #pseudorandom: Uint8Array | undefined
  readonly #index: Uint8Array
  /**
   * The index key as an OpenSSL object. Without it, Node 24 makes one at every call, which takes four times as long.
   */
  #indexKey: KeyObject | undefined
  #seal: Partial<Record<CipherName, Uint8Array>> = {}
  #nonce: Uint8Array | undefined
  /** Cached names: a connection uses the same ones several times. */
  readonly #names = new Map<string, string>()

  /** @internal Use `deriveSubkeys`. */
  constructor(pseudorandom: Uint8Array) {
    this.#pseudorandom = pseudorandom
    this.kid = expand(pseudorandom, 'kid').toString('base64url', 0, 8)
    this.#index = expand(pseudorandom, 'index')
  }

  /**
   * The 32-byte key that seals boxes. It is not a copy: callers must not change it.
   * @throws once the keys are wiped
   */
  sealKey(cipher: CipherName): Uint8Array {
    if (!this.#pseudorandom) throw new Error('the keys are wiped')
    return (this.#seal[cipher] ??= expand(this.#pseudorandom, PURPOSES[cipher]))
  }

  /**
   * The 32-byte key from which nonces are made, together with random bytes.
   * @throws once the keys are wiped
   */
  get nonceKey(): Uint8Array {
    if (!this.#pseudorandom) throw new Error('the keys are wiped')
    return (this.#nonce ??= expand(this.#pseudorandom, 'nonce'))
  }

  /** The digest of a peer in a folder's name: 128 bits as 22 base64url characters. */
  peerName({ host, port }: HostPort): string {
    return this.#name(`peer ${host}:${port}`, 16)
  }

  /** The digest of a job's name in a pool: 128 bits as 22 base64url characters. */
  jobName(job: string): string {
    return this.#name(`job ${job}`, 16)
  }

  /** The `peerName` of every port of a host, indexed by port: 65,536 names. */
  peerNames(host: string): string[] {
    return Array.from({ length: 65_536 }, (_, port) => this.#newName(`peer ${host}:${port}`, 16))
  }

  /** The digest of a binding in the name of one of the peer's files: 64 bits as 11 base64url characters. */
  bindingName({ host, port }: HostPort, binding: string): string {
    return this.#name(`binding ${host}:${port} ${binding}`, 8)
  }

  /** The digest of the server's public key in such a name: 24 bits as 4 base64url characters. */
  keyTag({ host, port }: HostPort, spkiFp: Uint8Array): string {
    return this.#name(`key ${host}:${port} ${toBase64(spkiFp)}`, 3)
  }

  /** The same for the address of the server that issued the tickets. Undefined if it is not known. */
  addressTag({ host, port }: HostPort, address: string | undefined): string {
    return this.#name(`address ${host}:${port} ${address ?? ''}`, 3)
  }

  /** The digest of a fact about a peer: 128 bits as 22 base64url characters. */
  factName({ host, port }: HostPort, fact: string): string {
    return this.#name(`fact ${host}:${port} ${fact}`, 16)
  }

  /** Overwrites the keys. Afterwards nothing can be sealed, and names are meaningless. */
  wipe(): void {
    const all = [this.#pseudorandom, this.#index, this.#nonce, ...Object.values(this.#seal)]
    for (const key of all) if (key) wipe(key)
    this.#pseudorandom = undefined
    // OpenSSL overwrites its copy when it frees it.
    this.#indexKey = undefined
    this.#names.clear()
    this.#seal = {}
  }

  #name(text: string, bytes: number): string {
    let name = this.#names.get(text)
    if (name === undefined) {
      if (this.#names.size >= MAX_NAMES) this.#names.delete(this.#names.keys().next().value!)
      this.#names.set(text, (name = this.#newName(text, bytes)))
    }
    return name
  }

  #newName(text: string, bytes: number): string {
    this.#indexKey ??= createSecretKey(this.#index)
    return hmac(this.#indexKey, text).toString('base64url', 0, bytes)
  }
}

/**
 * HKDF-SHA-256 (RFC 5869) without a salt. Every output is one block, so extract and expand are one HMAC each. In a
 * process that has just started, `hkdfSync` takes 0.3 to 0.7 ms longer.
 *
 * The master key itself is not kept: the caller wipes it.
 * @param master 32 bytes
 */
export function deriveSubkeys(master: Uint8Array): Subkeys {
  return new Subkeys(hmac(NO_SALT, master))
}

/** RFC 5869 uses zeros if there is no salt. */
const NO_SALT = new Uint8Array(32)

const PURPOSES: Readonly<Record<CipherName, string>> = {
  'xsalsa20-poly1305': 'seal',
  'aes-256-gcm': 'seal aes-256-gcm',
}

const expand = (pseudorandom: Uint8Array, purpose: string) =>
  hmac(pseudorandom, `ticketkeep/v1 ${purpose}\x01`)

const hmac = (key: Uint8Array | KeyObject, message: Uint8Array | string): Buffer =>
  createHmac('sha256', key).update(message).digest()
