import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { HostPort } from '../host-port.ts'
import { cipherInForce, openFailure, sealFailure } from '../seal/box.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import type { CipherName } from '../settings.ts'
import {
  failureName,
  failuresOf,
  folderName,
  folderPrefix,
  isBatchName,
  isFailureName,
  isOfferName,
  leadingTimeOf,
  offerName,
  processOf,
} from './names.ts'
import { namesIn, type PeerFolders } from './peer-folders.ts'
import { findDirectory } from './private-directory.ts'
import { openStored } from './stored-batches.ts'

/** How long a server is left alone after it failed once, twice, and more often in a row: seconds. */
const LEFT_ALONE_FOR = [3_600, 86_400, 604_800]

/** An offer that has been without an answer for so long gets none: seconds. */
const ANSWERED_WITHIN = 10

/** How long one look into a folder serves a burst of connections: milliseconds. */
const BURST = 1_000

/** A server that is left alone, or was until not long ago. */
export interface FailedPeer {
  readonly peer: HostPort
  /** A phrase for people, or the code of an error. */
  readonly reason: string
  /** UNIX seconds. */
  readonly failedAt: number
  readonly leftAloneUntil: number
}

/** What the names in one folder say. */
interface Past {
  /** Names of failures, and of offers that will get no answer. */
  readonly failures: readonly string[]
  readonly unanswered: readonly string[]
  readonly inARow: number
  readonly failedAt: number
  readonly leftAloneUntil: number
}

/**
 * How servers took the sessions that were offered to them, beyond one process: some fail on each. An offer is noted in
 * the folder of its peer until it is answered, so that one that hung is seen by the next process even if this one was
 * killed. A server that failed is left alone for an hour, then for a day, then for a week.
 *
 * It ends with the key that seals it: a server that is left alone for a week may be tried once more after a rotation.
 */
export class FailureLog {
  readonly #folders: PeerFolders
  readonly #current: Subkeys
  readonly #keys: readonly Subkeys[]
  readonly #cipher: CipherName

  constructor(folders: PeerFolders, keys: readonly [Subkeys, ...Subkeys[]], cipher: CipherName) {
    this.#folders = folders
    this.#current = keys[0]
    this.#keys = keys
    this.#cipher = cipher
  }

  /** Why nothing is to be offered to a peer now, in words. */
  whyLeftAlone(peer: HostPort, nowUnixSecs: number): string | undefined {
    if (!this.#folders.isUsable) return undefined
    const { leftAloneUntil, unanswered } = this.#past(peer, nowUnixSecs)
    if (leftAloneUntil <= nowUnixSecs) return undefined
    // Only an old one is sealed as a failure: in a container processes of others seem to have ended.
    const eldest = Math.min(...unanswered.map(leadingTimeOf))
    if (nowUnixSecs - eldest >= ANSWERED_WITHIN) this.#write(peer, 'no answer', eldest, nowUnixSecs)
    return `the server failed on an earlier offer: left alone until ${new Date(leftAloneUntil * 1000).toISOString()}`
  }

  /**
   * Notes that a session is being offered.
   * @returns the note, to be taken back with the answer; undefined where none could be made
   */
  begin(peer: HostPort, nowUnixSecs: number): string | undefined {
    try {
      if (this.#folders.problem !== undefined) return undefined
      const note = offerName(nowUnixSecs, process.pid, randomBytes(8).toString('hex'))
      this.#folders.create(folderName(this.#current, peer), note, '')
      return note
    } catch {
      return undefined
    }
  }

  /** Takes a note back. */
  end(peer: HostPort, note: string | undefined): void {
    if (note !== undefined) this.#folders.remove(folderName(this.#current, peer), note)
  }

  /** The server has answered: whatever it did before, it takes offers now. */
  answered(peer: HostPort, note: string | undefined): void {
    this.end(peer, note)
    this.#removeFailures(peer)
  }

  /**
   * The server has failed.
   * @param reason as in `Failure`
   */
  failed(peer: HostPort, note: string | undefined, reason: string, nowUnixSecs: number): void {
    this.end(peer, note)
    // Of many connections at once each fails. They are one failure.
    if (this.#past(peer, nowUnixSecs).leftAloneUntil <= nowUnixSecs)
      this.#write(peer, reason, nowUnixSecs, nowUnixSecs)
  }

  /** Every server that our keys know to have failed, and that is left alone. Changes nothing. */
  list(nowUnixSecs: number): FailedPeer[] {
    const { directory } = this.#folders
    if (findDirectory(directory, 'leave').state !== 'usable') return []
    return this.#keys.flatMap((keys) =>
      namesIn(directory)
        .filter((name) => name.startsWith(folderPrefix(keys.kid)))
        .flatMap((folder) => this.#describe(keys, folder, nowUnixSecs)),
    )
  }

  #describe(keys: Subkeys, folder: string, now: number): FailedPeer[] {
    const names = this.#folders.allNames(folder, 0)
    const { failures, failedAt, leftAloneUntil } = pastOf(names, now)
    if (leftAloneUntil <= now) return []
    for (const name of failures) {
      const text = this.#folders.read(folder, name)
      const failure = text === undefined ? undefined : openFailure(text, keys)
      if (failure && folder === folderName(keys, failure.peer))
        return [{ peer: failure.peer, reason: failure.reason, failedAt, leftAloneUntil }]
    }
    // An offer that got no answer has nothing in it. Which server it was for, a batch in its folder may tell.
    for (const name of names.filter(isBatchName)) {
      const text = this.#folders.read(folder, name)
      const batch = text === undefined ? undefined : openStored({ keys, folder, name }, text)
      if (batch) return [{ peer: batch.peer, reason: 'no answer', failedAt, leftAloneUntil }]
    }
    return []
  }

  #write(peer: HostPort, reason: string, failedAt: number, now: number): void {
    const { unanswered, inARow } = this.#past(peer, now)
    const failures = Math.min(unanswered.length > 0 ? inARow : inARow + 1, LEFT_ALONE_FOR.length)
    const keys = this.#current
    const folder = folderName(keys, peer)
    try {
      const failure = { kid: keys.kid, peer, failedAt, reason }
      const text = sealFailure(failure, keys, cipherInForce(this.#cipher), randomBytes)
      const name = failureName(failedAt, failures, randomBytes(8).toString('hex'))
      this.#folders.create(folder, name, text)
      this.#removeFailures(peer, name)
    } catch {
      // Then this process alone knows of it.
    }
    for (const note of unanswered) this.#folders.remove(folder, note)
  }

  #removeFailures(peer: HostPort, but?: string): void {
    for (const keys of this.#keys) {
      const folder = folderName(keys, peer)
      const names = this.#folders
        .allNames(folder, BURST)
        .filter((name) => isFailureName(name) && name !== but)
      for (const name of names) this.#folders.remove(folder, name)
    }
  }

  #past(peer: HostPort, now: number): Past {
    const names = this.#keys.flatMap((keys) => this.#folders.allNames(folderName(keys, peer), BURST))
    return pastOf(names, now)
  }
}

function pastOf(names: readonly string[], now: number): Past {
  const isPast = (name: string) => leadingTimeOf(name) <= now + ANSWERED_WITHIN
  const failures = names.filter((name) => isFailureName(name) && isPast(name))
  const unanswered = names.filter((name) => isOfferName(name) && isPast(name) && isUnanswered(name, now))
  const recorded = Math.max(0, ...failures.map(failuresOf))
  const inARow = Math.min(recorded + Math.sign(unanswered.length), LEFT_ALONE_FOR.length)
  const failedAt = Math.max(0, ...failures.map(leadingTimeOf), ...unanswered.map(leadingTimeOf))
  return {
    failures,
    unanswered,
    inARow,
    failedAt,
    leftAloneUntil: inARow === 0 ? 0 : failedAt + LEFT_ALONE_FOR[inARow - 1]!,
  }
}

/** Its process has ended, or should have had the answer long since. */
const isUnanswered = (name: string, now: number) =>
  now - leadingTimeOf(name) >= ANSWERED_WITHIN || !isRunning(processOf(name))

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !isZombie(pid)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** It has ended, and nobody has asked how: in a container whose first process does not ask, for ever (proc(5)). */
function isZombie(pid: number): boolean {
  if (process.platform !== 'linux') return false
  try {
    return / [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\)/s, ''))
  } catch {
    return false
  }
}
