import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs'
import { elapsed } from '../common/clock.ts'

// All times are in milliseconds.
/** An operation on the store that takes longer counts as slow. On a local disk it takes a fraction of this. */
const SLOW = 5
/** The total time that slow operations may take within an interval. */
const BUDGET = 50
const INTERVAL = 10_000
/** A process that has been writing for this long is stuck. */
const STUCK_AFTER = 5_000
/** A busy machine makes any file system slow for a moment, so the first mark keeps others away only briefly. */
const FIRST_MARK_LASTS = 10_000
const MARK_LASTS = 600_000

/**
 * Keeps programs from waiting for a slow or frozen file system. It times the operations on the store, and stops using
 * the store for the rest of the process if most of them are slow. Other processes then leave the store alone for ten
 * seconds, and for ten minutes if one of them finds it slow after that.
 *
 * They learn this from a mark in `/dev/shm`, which is in memory. The mark is a symbolic link to `busy`, to `slow`, or
 * to the ID of a process that is making its first change: it may be stuck.
 */
export class SlowStore {
  /** Why the store is left alone, as a phrase for people. */
  problem: string | undefined
  readonly #mark: string
  #work = { all: 0, slow: 0, slowMs: 0 }
  /** How long this process had waited for a CPU when the interval began: milliseconds. */
  #delayed = 0
  #lookedAt = Number.NEGATIVE_INFINITY
  #hasWritten = false
  #gaveUp = false
  /**
   * How often this process had blocked. Read once per turn, because reading it takes longer than most operations on a
   * local disk.
   */
  #waits: number | undefined

  /**
   * @param clock UNIX time and monotonic time in milliseconds; how often this process has blocked; how long it has
   *   waited for a CPU
   */
  constructor(
    directory: string,
    private readonly clock = { now: Date.now, elapsed, waits, delay },
    memory = '/dev/shm',
  ) {
    const name = createHash('sha256').update(directory).digest('hex').slice(0, 16)
    this.#mark = `${memory}/ticketkeep-${process.geteuid?.()}-${name}`
  }

  /** Whether the store must be left alone. */
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

  /** Runs an operation on the store and times it. */
  read<T>(work: () => T): T {
    const waits = this.#waits ?? this.#countWaits()
    const before = this.clock.elapsed()
    try {
      return work()
    } finally {
      const ms = this.clock.elapsed() - before
      // Counts only if the process blocked: on a busy machine a process that does not block may still lose the CPU for
      // 100 ms.
      this.#note(ms >= SLOW && this.#countWaits() > waits ? ms : 0)
    }
  }

  #countWaits(): number {
    this.#waits = this.clock.waits()
    // Reset after this turn: between turns the process blocks for reasons unrelated to the store.
    void Promise.resolve().then(() => {
      this.#waits = undefined
    })
    return this.#waits
  }

  /**
   * Like `read`, for an operation that changes the store. On a frozen file system it never returns, which the mark
   * shows to others.
   */
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
    // Not the store's fault if half the time was spent waiting for a CPU: among dozens of processes, each call that
    // blocks may have to.
    if (2 * (this.clock.delay() - this.#delayed) >= this.#work.slowMs) return
    this.#gaveUp = true
    this.problem = 'its file system is too slow'
    const wasBusy = tried(() => readlinkSync(this.#mark) === 'busy')
    // The programs of one burst find the store slow at the same moment. That counts once.
    if (wasBusy && tried(() => isValid(this.#mark, this.clock.now()))) return
    tried(() => unlinkSync(this.#mark))
    tried(() => symlinkSync(wasBusy ? 'slow' : 'busy', this.#mark))
  }
}

/** How often this process has blocked. Windows does not count it. */
const waits = () => process.resourceUsage().voluntaryContextSwitches

/** How long this process was ready but had no CPU: milliseconds (Linux, Documentation/scheduler/sched-stats). */
function delay(): number {
  if (process.platform !== 'linux') return 0
  try {
    // Read as UTF-8: otherwise Node calls other `fs` functions by their public names, which a program may have
    // replaced.
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

/**
 * Runs `work`. False if it returned false or threw: the mark belongs to somebody else, or `/dev/shm` does not exist.
 */
function tried(work: () => unknown): boolean {
  try {
    return work() !== false
  } catch {
    return false
  }
}
