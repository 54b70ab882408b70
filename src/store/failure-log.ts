import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { CipherName } from '../ciphers.ts'
import type { HostPort } from '../host-port.ts'
import { cipherInForce, openFailure, sealFailure } from '../seal/box.ts'
import type { Subkeys } from '../seal/subkeys.ts'
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
  type RunningProcess,
} from './names.ts'
import { BURST, namesIn, type PeerFolders } from './peer-folders.ts'
import { findDirectory } from './private-directory.ts'
import { openStored } from './stored-batches.ts'

/** How long a server is left alone after it failed once, twice, and more often: seconds. */
const LEFT_ALONE_FOR = [3_600, 86_400, 604_800]

/** A server that takes offers again is believed when its failure is as old as this: seconds. */
const FORGIVEN_AFTER = 86_400

/** An offer that has been without an answer for so long gets none: seconds. */
const ANSWERED_WITHIN = 10

/** A server that is left alone. */
export interface FailedPeer {
  /** Undefined where an offer hung, and nothing else that is stored tells whose it was. */
  readonly peer: HostPort | undefined
  /** A phrase for people, or the code of an error. */
  readonly reason: string
  /** UNIX seconds. */
  readonly failedAt: number
  readonly leftAloneUntil: number
}

/** A name in one of the peer's folders, of which each of our keys has one. */
interface Named {
  readonly folder: string
  readonly name: string
}

/** What the names in a peer's folders say. */
interface Past {
  readonly failures: readonly Named[]
  /** Notes of offers that get no answer. */
  readonly unanswered: readonly Named[]
  /** How often it failed. */
  readonly count: number
  /** UNIX seconds; 0 where it never did. */
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

  /** Why nothing is to be offered to a peer now, in words. An offer that hung is sealed as a failure by this. */
  whyLeftAlone(peer: HostPort, nowUnixSecs: number): string | undefined {
    if (!this.#folders.isUsable) return undefined
    let past = this.#past(peer, nowUnixSecs, BURST)
    // A process takes its note back before it ends: one that was seen may be gone by now.
    if (past.unanswered.length > 0) past = this.#past(peer, nowUnixSecs, 0)
    if (past.leftAloneUntil <= nowUnixSecs) return undefined
    // Only an old one is sealed: in a container the processes of others seem to have ended.
    const eldest = Math.min(...past.unanswered.map(({ name }) => leadingTimeOf(name)))
    if (nowUnixSecs - eldest >= ANSWERED_WITHIN) this.#seal(peer, past, 'no answer', past.failedAt)
    const until = new Date(past.leftAloneUntil * 1000).toISOString()
    return `the server failed on an earlier offer: left alone until ${until}`
  }

  /**
   * Notes that a session is being offered.
   * @returns the note, to be taken back with the answer; undefined where none could be made
   */
  begin(peer: HostPort, nowUnixSecs: number): string | undefined {
    try {
      if (this.#folders.problem !== undefined) return undefined
      const note = offerName(nowUnixSecs, thisProcess(), randomBytes(4).toString('hex'))
      this.#folders.create(folderName(this.#current, peer), note, '')
      return note
    } catch {
      return undefined
    }
  }

  /** Takes a note back. */
  end(peer: HostPort, note: string | undefined): void {
    if (note === undefined) return
    this.#folders.remove(folderName(this.#current, peer), note)
  }

  /** The server has answered, and the connection was used: failures of another day are forgotten, and offers that hung. */
  served(peer: HostPort, nowUnixSecs: number): void {
    const { failures, unanswered, failedAt } = this.#past(peer, nowUnixSecs, BURST)
    const going = nowUnixSecs - failedAt >= FORGIVEN_AFTER ? [...failures, ...unanswered] : unanswered
    for (const { folder, name } of going) this.#folders.remove(folder, name)
  }

  /**
   * The server has failed.
   * @param reason as in `Failure`
   */
  failed(peer: HostPort, note: string | undefined, reason: string, nowUnixSecs: number): void {
    this.end(peer, note)
    const past = this.#past(peer, nowUnixSecs, 0)
    // Of many connections at once each fails. They are one failure.
    if (past.leftAloneUntil > nowUnixSecs && past.failures.length > 0) return
    const count = past.unanswered.length > 0 ? past.count : past.count + 1
    this.#seal(peer, { ...past, count }, reason, nowUnixSecs)
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
    const past = this.#pastOf(
      names.map((name) => ({ folder, name })),
      now,
    )
    const { failures, failedAt, leftAloneUntil } = past
    if (leftAloneUntil <= now) return []
    for (const { name } of failures) {
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
    return [{ peer: undefined, reason: 'no answer', failedAt, leftAloneUntil }]
  }

  /** Writes one failure in the place of all that the past consists of. */
  #seal(peer: HostPort, { failures, unanswered, count }: Past, reason: string, failedAt: number): void {
    const keys = this.#current
    try {
      const failure = { kid: keys.kid, peer, failedAt, reason }
      const text = sealFailure(failure, keys, cipherInForce(this.#cipher), randomBytes)
      const times = Math.min(count, LEFT_ALONE_FOR.length)
      const name = failureName(failedAt, times, randomBytes(8).toString('hex'))
      this.#folders.create(folderName(keys, peer), name, text)
      for (const old of [...failures, ...unanswered]) this.#folders.remove(old.folder, old.name)
    } catch {
      // Then the notes stay, which say as much but for the reason.
    }
  }

  #past(peer: HostPort, now: number, maxAge: number): Past {
    const named = this.#keys.flatMap((keys) => {
      const folder = folderName(keys, peer)
      return this.#folders.allNames(folder, maxAge).map((name) => ({ folder, name }))
    })
    return this.#pastOf(named, now)
  }

  #pastOf(named: readonly Named[], now: number): Past {
    const timeOf = ({ name }: Named) => leadingTimeOf(name)
    // A clock may have been set back.
    const past = named.filter(
      ({ name }) =>
        (isFailureName(name) || isOfferName(name)) && leadingTimeOf(name) <= now + ANSWERED_WITHIN,
    )
    const failures = past.filter(({ name }) => isFailureName(name))
    const unanswered = past.filter(({ name }) => isOfferName(name) && this.#isUnanswered(name, now))
    const recorded = Math.max(0, ...failures.map(({ name }) => failuresOf(name)))
    const recordedAt = Math.max(0, ...failures.map(timeOf))
    const recordedUntil = endOf(recordedAt, recorded)
    // One of before the end of a failure belongs to it: nobody knew of it then.
    const hung = unanswered.filter((one) => timeOf(one) >= recordedUntil)
    const count = hung.length > 0 ? recorded + 1 : recorded
    const failedAt = hung.length > 0 ? Math.min(...hung.map(timeOf)) : recordedAt
    return { failures, unanswered, count, failedAt, leftAloneUntil: endOf(failedAt, count) }
  }

  /** Its process has ended, or should have had the answer long since. */
  #isUnanswered(note: string, now: number): boolean {
    if (now - leadingTimeOf(note) >= ANSWERED_WITHIN) return true
    const { pid, startedAt } = processOf(note)
    // The number may have been another process's before, in containers always the same. The other threads have it, too.
    return pid === process.pid ? Math.abs(startedAt - thisProcess().startedAt) > CLOCK_STEP : !isRunning(pid)
  }
}

/** Two threads read the start of their process not quite alike: milliseconds. */
const CLOCK_STEP = 20

function thisProcess(): RunningProcess {
  const startedAt = Number(process.hrtime.bigint() / 1_000_000n) - Math.floor(process.uptime() * 1000)
  return { pid: process.pid, startedAt: startedAt % 2 ** 32 }
}

const endOf = (failedAt: number, count: number) =>
  count === 0 ? 0 : failedAt + LEFT_ALONE_FOR[Math.min(count, LEFT_ALONE_FOR.length) - 1]!

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
    return / [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, ''))
  } catch {
    return false
  }
}
