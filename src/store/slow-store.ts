import { createHash } from 'node:crypto'
import { lstatSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { elapsed } from '../common/clock.ts'

// All in milliseconds.
/** Work on the store that takes longer is slow: on a local disk it takes a fraction of one. */
const SLOW = 5
/** How long slow work may take, all together, within an interval. */
const BUDGET = 50
const INTERVAL = 10_000
/** A process that has been writing for so long is stuck. */
const STUCK_AFTER = 5_000
const MARK_LASTS = 600_000

const SYSTEM_CLOCK = { now: Date.now, elapsed }

/**
 * Keeps programs from waiting for a slow or frozen file system. It times the work on the store, and gives the store
 * up for the rest of the process where most of it is slow (on a busy machine only some of it is). Other processes
 * then leave the store alone for ten minutes. They learn of it by a mark in `/dev/shm`, which is memory: a symbolic
 * link to the word `slow`, or to the number of the process that is writing just now, which may be stuck.
 */
export class SlowStore {
  /** Why the store is left alone: a sentence for people. */
  problem: string | undefined
  readonly #mark: string
  #work = { all: 0, slow: 0, slowMs: 0 }
  #lookedAt = Number.NEGATIVE_INFINITY
  #markedAt = Number.NEGATIVE_INFINITY
  #gaveUp = false

  /** @param clock UNIX time, and time by a clock that nobody sets: both in milliseconds */
  constructor(
    directory: string,
    private readonly clock = SYSTEM_CLOCK,
    memory = '/dev/shm',
  ) {
    const name = createHash('sha256').update(directory).digest('hex').slice(0, 16)
    this.#mark = `${memory}/ticketkeep-${process.geteuid?.()}-${name}`
  }

  /** Whether the store is to be left alone. */
  get isLeftAlone(): boolean {
    const now = this.clock.now()
    if (!this.#gaveUp && Math.abs(now - this.#lookedAt) >= INTERVAL) {
      this.#lookedAt = now
      this.#work = { all: 0, slow: 0, slowMs: 0 }
      this.problem = isMarked(this.#mark, now)
        ? 'its file system was too slow for another process'
        : undefined
    }
    return this.problem !== undefined
  }

  /** Does work on the store, and times it. */
  read<T>(work: () => T): T {
    const before = this.clock.elapsed()
    try {
      return work()
    } finally {
      this.#note(this.clock.elapsed() - before)
    }
  }

  /** The same with work that changes the store: on a frozen file system that never ends. */
  write<T>(work: () => T): T {
    const now = this.clock.now()
    if (Math.abs(now - this.#markedAt) < INTERVAL) return this.read(work)
    this.#markedAt = now
    const isMine = mark(this.#mark, `${process.pid}`)
    try {
      return this.read(work)
    } finally {
      if (isMine && !this.#gaveUp) unmark(this.#mark)
    }
  }

  #note(ms: number): void {
    const { all, slow, slowMs } = this.#work
    const isSlow = ms >= SLOW
    this.#work = { all: all + 1, slow: slow + Number(isSlow), slowMs: slowMs + (isSlow ? ms : 0) }
    const isMostlySlow = this.#work.slow >= 2 && this.#work.slow * 2 > this.#work.all
    if (this.#gaveUp || !isMostlySlow || this.#work.slowMs <= BUDGET) return
    this.#gaveUp = true
    this.problem = 'its file system is too slow'
    unmark(this.#mark)
    mark(this.#mark, 'slow')
  }
}

function isMarked(path: string, now: number): boolean {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false })
    if (!stats?.isSymbolicLink() || stats.uid !== process.geteuid?.()) return false
    const age = Math.abs(now - stats.mtimeMs)
    const by = readlinkSync(path)
    if (age < MARK_LASTS && by === 'slow') return true
    if (age < MARK_LASTS && isRunning(Number(by))) return age >= STUCK_AFTER
    unmark(path)
  } catch {
    // It went meanwhile.
  }
  return false
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function mark(path: string, by: string): boolean {
  try {
    symlinkSync(by, path)
    return true
  } catch {
    return false // another process has left one, or there is no such memory
  }
}

function unmark(path: string): void {
  try {
    unlinkSync(path)
  } catch {}
}
