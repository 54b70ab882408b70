import type { HostPort } from '../host-port.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { FACT_MAX_AGE, factName, factOf, folderName, isFactName, leadingTimeOf } from './names.ts'
import { BURST, type PeerFolders } from './peer-folders.ts'

/** A name in one of the peer's folders, and the fact that it stands for. */
interface Noted {
  readonly folder: string
  readonly name: string
  readonly fact: string
}

/**
 * What was learned of servers, beyond their tickets: a few words about each, which are kept when its tickets are used up.
 * An empty file with a keyed name stands for a fact. So nothing is decrypted before a connection is made. A name that does
 * not come of our key, or is in the folder of another peer, says nothing.
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
    const age = ({ name }: Noted) => Math.abs(nowUnixSecs - leadingTimeOf(name))
    return this.#noted(peer, facts)
      .filter((one) => age(one) < maxAge)
      .sort((a, b) => leadingTimeOf(b.name) - leadingTimeOf(a.name))[0]?.fact
  }

  /** Notes one of the facts in the place of the others; undefined: none of them is true any more. Never throws. */
  note(peer: HostPort, facts: readonly string[], fact: string | undefined, nowUnixSecs: number): void {
    try {
      if (this.#folders.problem !== undefined) return
      const before = this.#noted(peer, facts)
      const [keys] = this.#keys
      const noted = fact === undefined ? undefined : factName(keys, peer, fact, nowUnixSecs)
      if (noted !== undefined && !before.some(({ name }) => name === noted))
        this.#folders.create(folderName(keys, peer), noted, '')
      for (const { folder, name } of before) if (name !== noted) this.#folders.remove(folder, name)
    } catch {
      // It is learned again.
    }
  }

  #noted(peer: HostPort, facts: readonly string[]): Noted[] {
    return this.#keys.flatMap((keys) => {
      const folder = folderName(keys, peer)
      const names = this.#folders.allNames(folder, BURST).filter(isFactName)
      return names.flatMap((name) => {
        const fact = facts.find((one) => keys.factName(peer, one) === factOf(name))
        return fact === undefined ? [] : [{ folder, name, fact }]
      })
    })
  }
}
