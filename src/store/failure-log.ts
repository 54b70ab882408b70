import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { CipherName } from '../ciphers.ts'
import { isRunning } from '../common/is-running.ts'
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

/** How long a server is left alone after its first, second and every further failure: seconds. */
const LEFT_ALONE_FOR = [3_600, 86_400, 604_800]

/** A failure is forgotten if it is this old and the server accepts offers again: seconds. */
const FORGIVEN_AFTER = 86_400

/** An offer that is unanswered for this long will not be answered: seconds. */
const ANSWERED_WITHIN = 10

/** A server that is left alone. */
export interface FailedPeer {
  /** Undefined if an offer hung and nothing stored identifies the peer. */
  readonly peer: HostPort | undefined
  /** A phrase for people, or an error code. */
  readonly reason: string
  /** UNIX seconds. */
  readonly failedAt: number
  readonly leftAloneUntil: number
}

/** A file name in one of the peer's folders. There is one folder for each of our keys. */
interface Named {
  readonly folder: string
  readonly name: string
}

/** What the file names in a peer's folders show. */
interface Past {
  readonly failures: readonly Named[]
  /** Notes of offers that will get no answer. */
  readonly unanswered: readonly Named[]
  /** How many times in a row it failed. */
  readonly count: number
  /** UNIX seconds. 0 if it never failed. */
  readonly failedAt: number
  readonly leftAloneUntil: number
}

/**
 * Records across processes how servers respond to offered sessions, because some servers fail every resumption. An
 * offer is recorded in the folder of its peer until it is answered. So the next process sees an offer that hung, even
 * if this process was killed. A server that failed is left alone for an hour, then for a day, then for a week.
 *
 * The record is sealed, so it ends with its key: a server that is left alone for a week may be tried once more after a
 * key rotation.
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

  /**
   * Why no session is offered to a peer now, as a phrase for people. Undefined if one may be offered. An offer that
   * hung is stored as a failure by this call.
   */
  whyLeftAlone(peer: HostPort, nowUnixSecs: number): string | undefined {
    if (!this.#folders.isUsable) return undefined
    let past = this.#past(peer, nowUnixSecs, BURST)
    // Read again, because a process removes its note before it ends: the note may be gone by now.
    if (past.unanswered.length > 0) past = this.#past(peer, nowUnixSecs, 0)
    if (past.leftAloneUntil <= nowUnixSecs) return undefined
    // Only an old note is stored as a failure: in a container, processes of other containers seem to have ended.
    const eldest = Math.min(...past.unanswered.map(({ name }) => leadingTimeOf(name)))
    if (nowUnixSecs - eldest >= ANSWERED_WITHIN) this.#seal(peer, past, 'no answer', past.failedAt)
    const until = new Date(past.leftAloneUntil * 1000).toISOString()
    return `the server failed on an earlier offer: left alone until ${until}`
  }

  /**
   * Records that a session is being offered.
   * @returns the note, to be removed with `end` when the server answers; undefined if it could not be written
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

  /** Removes a note. */
  end(peer: HostPort, note: string | undefined): void {
    if (note === undefined) return
    this.#folders.remove(folderName(this.#current, peer), note)
  }

  /**
   * The server answered, and the connection was used. Removes failures that are a day old, and notes of offers that
   * hung.
   */
  served(peer: HostPort, nowUnixSecs: number): void {
    const { failures, unanswered, failedAt } = this.#past(peer, nowUnixSecs, BURST)
    const going = nowUnixSecs - failedAt >= FORGIVEN_AFTER ? [...failures, ...unanswered] : unanswered
    for (const { folder, name } of going) this.#folders.remove(folder, name)
  }

  /**
   * The server failed.
   * @param reason as in `FailedPeer`
   */
  failed(peer: HostPort, note: string | undefined, reason: string, nowUnixSecs: number): void {
    this.end(peer, note)
    const past = this.#past(peer, nowUnixSecs, 0)
    // If many connections fail at once, they count as one failure.
    if (past.leftAloneUntil > nowUnixSecs && past.failures.length > 0) return
    const count = past.unanswered.length > 0 ? past.count : past.count + 1
    this.#seal(peer, { ...past, count }, reason, nowUnixSecs)
  }

  /** Every server that is left alone after a failure, as far as our keys can read. Changes nothing. */
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
    // The note of an unanswered offer is empty. A batch in the same folder may show which server it was.
    for (const name of names.filter(isBatchName)) {
      const text = this.#folders.read(folder, name)
      const batch = text === undefined ? undefined : openStored({ keys, folder, name }, text)
      if (batch) return [{ peer: batch.peer, reason: 'no answer', failedAt, leftAloneUntil }]
    }
    return [{ peer: undefined, reason: 'no answer', failedAt, leftAloneUntil }]
  }

  /** Replaces all recorded failures and notes by one failure. */
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
      // The notes stay. They record the same, except for the reason.
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
    // Times in the future are ignored: the clock may have been set back.
    const past = named.filter(
      ({ name }) =>
        (isFailureName(name) || isOfferName(name)) && leadingTimeOf(name) <= now + ANSWERED_WITHIN,
    )
    const failures = past.filter(({ name }) => isFailureName(name))
    const unanswered = past.filter(({ name }) => isOfferName(name) && this.#isUnanswered(name, now))
    const recorded = Math.max(0, ...failures.map(({ name }) => failuresOf(name)))
    const recordedAt = Math.max(0, ...failures.map(timeOf))
    const recordedUntil = endOf(recordedAt, recorded)
    // An offer made before the end of a recorded failure belongs to that failure: its process did not know of it.
    const hung = unanswered.filter((one) => timeOf(one) >= recordedUntil)
    const count = hung.length > 0 ? recorded + 1 : recorded
    const failedAt = hung.length > 0 ? Math.min(...hung.map(timeOf)) : recordedAt
    return { failures, unanswered, count, failedAt, leftAloneUntil: endOf(failedAt, count) }
  }

  /** Whether an offer will get no answer: its process has ended, or should have had the answer long ago. */
  #isUnanswered(note: string, now: number): boolean {
    if (now - leadingTimeOf(note) >= ANSWERED_WITHIN) return true
    const { pid, startedAt } = processOf(note)
    // Process IDs are reused, and in containers they are often the same. So a note with our own ID is compared by start
    // time. Other threads of this process share ID and start.
    return pid === process.pid
      ? Math.abs(startedAt - thisProcess().startedAt) > CLOCK_STEP
      : !isRunning(pid) || isZombie(pid)
  }
}

/** Two threads may compute slightly different start times of their process: milliseconds. */
const CLOCK_STEP = 20

function thisProcess(): RunningProcess {
  const startedAt = Number(process.hrtime.bigint() / 1_000_000n) - Math.floor(process.uptime() * 1000)
  return { pid: process.pid, startedAt: startedAt % 2 ** 32 }
}

const endOf = (failedAt: number, count: number) =>
  count === 0 ? 0 : failedAt + LEFT_ALONE_FOR[Math.min(count, LEFT_ALONE_FOR.length) - 1]!

/**
 * Whether a process is a zombie: it has ended, but its parent has not waited for it (proc(5)). In a container whose
 * first process never waits, it stays one for ever.
 */
function isZombie(pid: number): boolean {
  if (process.platform !== 'linux') return false
  try {
    return / [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, ''))
  } catch {
    return false
  }
}
