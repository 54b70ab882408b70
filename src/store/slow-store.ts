import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { elapsed } from '../common/clock.ts'

// All in milliseconds.
/** Work on the store that takes longer is slow: on a local disk it takes a fraction of one. */
const SLOW = 5
/** How long slow work may take, all together, within an interval. */
const BUDGET = 50
const INTERVAL = 10_000
/** A process that has been writing for so long is stuck. */
const STUCK_AFTER = 5_000
/** A busy machine makes any file system slow for a moment: a first mark keeps others away for that long only. */
const FIRST_MARK_LASTS = 10_000
const MARK_LASTS = 600_000

/**
 * Keeps programs from waiting for a slow or frozen file system. It times the work on the store, and gives the store
 * up for the rest of the process where most of it is slow. Other processes then leave the store alone for ten seconds, and
 * for ten minutes if it is slow for one of them after that. They learn of it by a mark in `/dev/shm`, which is memory: a
 * symbolic link to `busy` or `slow`, or to the number of a process that is making its first change just now: it may be stuck.
 */
export class SlowStore {
  /** Why the store is left alone: a sentence for people. */
  problem: string | undefined
  readonly #mark: string
  #work = { all: 0, slow: 0, slowMs: 0 }
  /** How long this process had waited for a processor when the interval began: milliseconds. */
  #delayed = 0
  #lookedAt = Number.NEGATIVE_INFINITY
  #hasWritten = false
  #gaveUp = false
  /** How often this process had waited, asked once a turn: to ask takes longer than most work on a local disk. */
  #waits: number | undefined

  /**
   * @param clock in milliseconds, UNIX time and time by a clock that nobody sets; how often we have waited, and how long
   *   for a processor
   */
  constructor(
    directory: string,
    private readonly clock = { now: Date.now, elapsed, waits, delay },
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
      this.#delayed = this.clock.delay()
      const isMarked = tried(() => isValid(this.#mark, now))
      this.problem = isMarked ? 'its file system was too slow for another process' : undefined
    }
    return this.problem !== undefined
  }

  /** Does work on the store, and times it. */
  read<T>(work: () => T): T {
    const waits = this.#waits ?? this.#countWaits()
    const before = this.clock.elapsed()
    try {
      return work()
    } finally {
      const ms = this.clock.elapsed() - before
      // On a busy machine a process that waits for nothing may not get the processor for 100 ms.
      this.#note(ms >= SLOW && this.#countWaits() > waits ? ms : 0)
    }
  }

  #countWaits(): number {
    this.#waits = this.clock.waits()
    // Between turns it waits for what is none of the store's.
    void Promise.resolve().then(() => {
      this.#waits = undefined
    })
    return this.#waits
  }

  /** The same with work that changes the store: on a frozen file system that never ends. */
  write<T>(work: () => T): T {
    const isMine = !this.#hasWritten && tried(() => symlinkSync(`${process.pid}`, this.#mark))
    this.#hasWritten = true
    try {
      return this.read(work)
    } finally {
      if (isMine && !this.#gaveUp) tried(() => unlinkSync(this.#mark))
    }
  }

  #note(ms: number): void {
    const { all, slow, slowMs } = this.#work
    this.#work =
      ms < SLOW ? { all: all + 1, slow, slowMs } : { all: all + 1, slow: slow + 1, slowMs: slowMs + ms }
    const isMostlySlow = this.#work.slow >= 2 && this.#work.slow * 2 > this.#work.all
    if (this.#gaveUp || !isMostlySlow || this.#work.slowMs <= BUDGET) return
    // Each call that waits for anything may wait for a processor after that, among dozens of processes.
    if (2 * (this.clock.delay() - this.#delayed) >= this.#work.slowMs) return
    this.#gaveUp = true
    this.problem = 'its file system is too slow'
    const wasBusy = tried(() => readlinkSync(this.#mark) === 'busy')
    // Programs of one burst find it slow at once.
    if (wasBusy && tried(() => isValid(this.#mark, this.clock.now()))) return
    tried(() => unlinkSync(this.#mark))
    tried(() => symlinkSync(wasBusy ? 'slow' : 'busy', this.#mark))
  }
}

/** How often this process has gone to sleep for want of something. Windows does not count it. */
const waits = () => process.resourceUsage().voluntaryContextSwitches

/** How long this process has been ready and had no processor: milliseconds (Linux, Documentation/scheduler/sched-stats). */
function delay(): number {
  if (process.platform !== 'linux') return 0
  try {
    // As UTF-8: else it would call other functions of `fs` by their names, which a program may have replaced.
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1e6 || 0
  } catch {
    return 0
  }
}

function isValid(mark: string, now: number): boolean {
  const stats = lstatSync(mark, { throwIfNoEntry: false })
  if (!stats?.isSymbolicLink() || stats.uid !== process.geteuid?.()) return false
  const [age, by] = [Math.abs(now - stats.mtimeMs), readlinkSync(mark)]
  if (age < MARK_LASTS && by === 'slow') return true
  if (age < MARK_LASTS && by === 'busy') return age < FIRST_MARK_LASTS
  if (age < MARK_LASTS && tried(() => process.kill(Number(by), 0))) return age >= STUCK_AFTER
  unlinkSync(mark)
  return false
}

/** Whether it was done, and not found to be false. What fails is a mark of somebody else, or that there is no memory. */
function tried(work: () => unknown): boolean {
  try {
    return work() !== false
  } catch {
    return false
  }
}
