// Records a process's connections for `ticketkeep run --summary` and `--report`. Active only if one of them was
// requested.
import { type EventEmitter, errorMonitor } from 'node:events'
import type { TLSSocket } from 'node:tls'
import { elapsed } from '../common/clock.ts'
import type { Call } from '../tls/call.ts'
import type { ConnectionTimes } from '../tls/connection-times.ts'
import { guarded, type Observer } from '../tls/events.ts'
import { SocketListeners } from '../tls/socket-listeners.ts'
import type { Clock } from './clock.ts'
import { addLines, type ConnectionLine, type Line } from './summary-file.ts'

type MakeRoom = (emitter: EventEmitter) => () => void

/**
 * How often to check for the first byte: milliseconds. There is no event for it that would not change how the program
 * reads.
 */
const LOOK_AGAIN_AFTER = 2

/** How long to check for it: milliseconds. */
const LOOK_FOR = 10_000

/** The open connections of this process, and the lines that are not written yet. */
export class ConnectionLog {
  readonly #path: string
  readonly #clock: Clock
  readonly #makeRoom: MakeRoom
  /** Process IDs are reused, and threads share one, so the start time is added. */
  readonly #id = `${process.pid}.${elapsed()}`
  #count = 0
  readonly #open = new Set<LoggedConnection>()
  /** Open connections whose handshake is complete and that have no line yet. */
  readonly #unwritten = new Set<LoggedConnection>()
  readonly #lines: Line[] = []
  readonly #problems = new Set<string>()
  #kept = 0
  #isLooking = false
  #isScheduled = false

  constructor(path: string, { clock, makeRoom }: { readonly clock: Clock; readonly makeRoom: MakeRoom }) {
    this.#path = path
    this.#clock = clock
    this.#makeRoom = makeRoom
  }

  /** @param observer also receives the events of this connection */
  begin(call: Call, observer: Observer): LoggedConnection {
    return new LoggedConnection(`${this.#id}.${++this.#count}`, call, observer)
  }

  /** From now on, the outcome of the connection is recorded. */
  follow(connection: LoggedConnection, socket: TLSSocket): void {
    this.#open.add(connection)
    connection.follow(
      socket,
      this.#makeRoom,
      () => {
        this.#unwritten.add(connection)
        this.#look()
        this.#writeSoon()
      },
      () => this.#end(connection),
    )
  }

  /** Records why this process can store nothing. */
  problem(problem: string): void {
    if (this.#problems.has(problem)) return
    this.#problems.add(problem)
    this.#lines.push({ pid: process.pid, kept: 0, problem: shortened(problem) })
    this.#writeSoon()
  }

  /** Writes what is known so far. @param kept how many tickets the process has stored since it started */
  save(kept: number): void {
    if (kept > this.#kept) this.#lines.push({ pid: process.pid, kept: kept - this.#kept, problem: '' })
    this.#kept = kept
    this.#write()
  }

  /** Called when the process exits. */
  end(kept: number): void {
    for (const connection of this.#open) this.#end(connection)
    this.save(kept)
  }

  #end(connection: LoggedConnection): void {
    if (!this.#open.delete(connection)) return
    this.#unwritten.delete(connection)
    connection.release()
    this.#lines.push(connection.line())
    this.#writeSoon()
  }

  #look(): void {
    if (this.#isLooking) return
    this.#isLooking = true
    const look = () => {
      this.#isLooking = false
      for (const connection of this.#open) if (connection.hasServed()) this.#end(connection)
      if ([...this.#open].some(({ isAwaited }) => isAwaited)) this.#look()
    }
    this.#clock.setTimeout(look, LOOK_AGAIN_AFTER).unref()
  }

  /**
   * Writes once for all connections that end in one turn, and soon, because a program that is killed can no longer
   * write.
   */
  #writeSoon(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    this.#clock.setImmediate(() => {
      this.#isScheduled = false
      this.#write()
    })
  }

  #write(): void {
    for (const connection of this.#unwritten) this.#lines.push(connection.line())
    this.#unwritten.clear()
    if (this.#lines.length > 0) addLines(this.#path, this.#lines.splice(0))
  }
}

/** One connection and its outcome so far. */
export class LoggedConnection {
  readonly #id: string
  readonly #call: Call
  readonly #observer: Observer
  readonly #times: ConnectionTimes
  #socket: TLSSocket | undefined
  #listeners: SocketListeners | undefined
  #isOffered = false
  #isOurs = false
  #isResumed = false
  #protocol = ''
  #sessions = 0
  #reason = ''
  #whyNotKept = ''
  #error = ''

  constructor(id: string, call: Call, observer: Observer) {
    this.#id = id
    this.#call = call
    this.#observer = observer
    this.#times = call.times ?? { called: elapsed() }
  }

  /** Passed to the attended connection in place of the observer. */
  readonly observe: Observer = (name, detail) => {
    const { reason = '', ours = false } = detail
    if (name === 'offer') this.#isOffered = true
    else if (name === 'resumed') this.#isOurs = ours
    else if (name === 'harvest') this.#sessions++
    else if (reason.startsWith(NOT_KEPT)) this.#whyNotKept = reason
    else if (this.#times.secure === undefined) this.#reason = reason
    this.#observer(name, detail)
  }

  follow(socket: TLSSocket, makeRoom: MakeRoom, secure: () => void, end: () => void): void {
    this.#socket = socket
    const listeners = new SocketListeners(socket, makeRoom)
    this.#listeners = listeners
    const on = (event: string | symbol, work: (error?: { code?: unknown }) => void) =>
      listeners.on(event, guarded(this.#observer, work))
    on('secureConnect', () => {
      this.#times.secure ??= elapsed()
      this.#isResumed = this.#call.state.methods.isSessionReused.call(socket)
      this.#protocol = socket.getProtocol() ?? ''
      secure()
    })
    on(errorMonitor, (error) => {
      if (typeof error?.code === 'string') this.#error = error.code
    })
    on('close', end)
  }

  /** Whether its handshake is complete and no data has arrived yet. */
  get isAwaited(): boolean {
    return this.#times.secure !== undefined && this.#times.firstByte === undefined
  }

  /** Whether the server has sent data, or has sent none for so long that it may be waiting for the program. */
  hasServed(): boolean {
    if (!this.isAwaited) return false
    if (this.#socket!.bytesRead > 0) this.#times.firstByte = elapsed()
    return this.#times.firstByte !== undefined || elapsed() - this.#times.secure! > LOOK_FOR
  }

  /** Removes all our listeners from the socket. */
  release(): void {
    this.#listeners?.removeAll()
  }

  /** The outcome so far. */
  line(): ConnectionLine {
    if (this.isAwaited && this.#socket!.bytesRead > 0) this.#times.firstByte = elapsed()
    const { host, servername, port } = this.#call.options
    return {
      id: this.#id,
      pid: process.pid,
      program: shortened(process.argv[1]?.replace(/^.*[/\\]/s, '') ?? ''),
      host: shortened(String(host || servername || '').toLowerCase()),
      port: Number(port) > 0 && Number(port) <= 65_535 ? Math.trunc(Number(port)) : 0,
      handshake: this.#times.secure === undefined ? 'failed' : this.#isResumed ? 'resumed' : 'full',
      isProgramsOwn: this.#isResumed && !this.#isOurs,
      protocol: this.#protocol,
      sessions: this.#sessions,
      reason: shortened(this.#whyNotResumed()),
      times: rounded(this.#times),
    }
  }

  #whyNotResumed(): string {
    if (this.#isResumed) return ''
    if (this.#times.secure === undefined)
      return `failed: ${this.#error || 'closed before the handshake was complete'}`
    if (this.#isOffered) return TURNED_DOWN
    if (this.#call.options.session && !this.#reason) return 'the program has set a session'
    return this.#sessions === 0 && this.#whyNotKept ? this.#whyNotKept : this.#reason
  }
}

/** The prefix of reasons why the sessions of a connection are not kept. */
const NOT_KEPT = 'not kept: '

const TURNED_DOWN = 'the server turned the ticket down'

const rounded = (times: ConnectionTimes) =>
  Object.fromEntries(
    Object.entries(times).map(([name, ms]) => [name, Math.round(ms * 100) / 100]),
  ) as unknown as ConnectionTimes

/** Limits the length of a field in a line. */
const shortened = (text: string) => text.slice(0, 500)
