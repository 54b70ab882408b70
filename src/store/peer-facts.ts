import type { HostPort } from '../host-port.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { MAX_PEERS } from './bounds.ts'
import { FACT_MAX_AGE, factName, isFactName, leadingTimeOf, namesFact, namesPeer } from './names.ts'
import { BURST, namesIn, type PeerFolders, TOP } from './peer-folders.ts'

/** A file's name, and the fact that it stands for. */
interface Noted {
  readonly name: string
  readonly fact: string
}

/** Whether anything is known of any server. Needs no key. */
export const hasFacts = (directory: string): boolean => namesIn(directory).some(isFactName)

/**
 * What was learned of servers, beyond their tickets: a few words about each, which are kept when its tickets are used up.
 * An empty file with a keyed name stands for a fact. So nothing is decrypted before a connection is made, and a program
 * learns without a key whether there is anything to be known. A name that our key has not made says nothing.
 */
export class PeerFacts {
  readonly #folders: PeerFolders
  readonly #keys: readonly [Subkeys, ...Subkeys[]]

  constructor(folders: PeerFolders, keys: readonly [Subkeys, ...Subkeys[]]) {
    this.#folders = folders
    this.#keys = keys
  }

  /**
   * Which of the facts was noted last; undefined where none was.
   * @param facts of which one at most is true
   * @param maxAge how old a note may be: seconds, a week at most
   */
  find(
    peer: HostPort,
    facts: readonly string[],
    nowUnixSecs: number,
    maxAge = FACT_MAX_AGE,
  ): string | undefined {
    if (!this.#folders.isUsable) return undefined
    return this.#noted(peer, facts)
      .filter(({ name }) => Math.abs(nowUnixSecs - leadingTimeOf(name)) < maxAge)
      .sort((a, b) => leadingTimeOf(b.name) - leadingTimeOf(a.name))[0]?.fact
  }

  /** Notes one of the facts in the place of the others; undefined: none of them is true any more. Never throws. */
  note(peer: HostPort, facts: readonly string[], fact: string | undefined, nowUnixSecs: number): void {
    try {
      if (this.#folders.problem !== undefined) return
      const before = this.#noted(peer, facts)
      const noted = fact === undefined ? undefined : factName(this.#keys[0], peer, fact, nowUnixSecs)
      if (noted !== undefined && !before.some(({ name }) => name === noted)) {
        this.#folders.create(TOP, noted, '')
        this.#removeSurplus()
      }
      for (const { name } of before) if (name !== noted) this.#folders.remove(TOP, name)
    } catch {
      // It is learned again.
    }
  }

  /** Forgets the peer. */
  forget(peer: HostPort): void {
    const isOfPeer = (name: string) => this.#keys.some((keys) => namesPeer(name, keys, peer))
    for (const name of this.#names().filter(isOfPeer)) this.#folders.remove(TOP, name)
  }

  #removeSurplus(): void {
    const oldest = this.#names().sort().slice(0, -MAX_PEERS)
    for (const name of oldest) this.#folders.remove(TOP, name)
  }

  #noted(peer: HostPort, facts: readonly string[]): Noted[] {
    const names = this.#names()
    return this.#keys.flatMap((keys) => {
      const own = names.filter((name) => namesPeer(name, keys, peer))
      return own.flatMap((name) => {
        const fact = facts.find((one) => namesFact(name, keys, peer, one))
        return fact === undefined ? [] : [{ name, fact }]
      })
    })
  }

  #names(): string[] {
    return this.#folders.allNames(TOP, BURST).filter(isFactName)
  }
}
