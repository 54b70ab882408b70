import type { HostPort } from '../host-port.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { MAX_PEERS } from './bounds.ts'
import { FACT_MAX_AGE, factName, isFactName, leadingTimeOf, namesFact, namesPeer } from './names.ts'
import { BURST, namesIn, type PeerFolders, TOP } from './peer-folders.ts'

/** A file name and the fact that it stands for. */
interface Noted {
  readonly name: string
  readonly fact: string
}

/** Whether any fact about any server is stored. Needs no key. */
export const hasFacts = (directory: string): boolean => namesIn(directory).some(isFactName)

/**
 * Stores facts about servers that outlive their tickets, each a few words. A fact is an empty file whose name is a
 * keyed digest. So nothing is decrypted before a connection is made, and a program can tell without a key whether any
 * facts exist. Names that were not made with our keys are ignored.
 */
export class PeerFacts {
  readonly #folders: PeerFolders
  readonly #keys: readonly [Subkeys, ...Subkeys[]]

  constructor(folders: PeerFolders, keys: readonly [Subkeys, ...Subkeys[]]) {
    this.#folders = folders
    this.#keys = keys
  }

  /**
   * The fact that was recorded last, among the given ones. Undefined if none was.
   * @param facts of which at most one is true
   * @param maxAge seconds, at most a week: older records are ignored
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

  /** Records one of the facts and removes the others. Undefined: none of them is true any more. Never throws. */
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
      // The fact will be learned again.
    }
  }

  /** Removes all facts about a peer. */
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
