/**
 * The part of D-Bus that is needed to call one service: little-endian messages over a UNIX socket on the session bus.
 * Replies are parsed within strict bounds. Anything unexpected ends the connection.
 *
 * Source: the D-Bus Specification, "Message Protocol" and "Authentication Protocol".
 */
import type { Socket } from 'node:net'
import { clearTimeout, setTimeout } from 'node:timers'
import { wipe } from '../../common/bytes.ts'
import { onAbort } from '../../common/on-abort.ts'
import { type Asking, type KeyCause, SourceFailure } from '../key-source.ts'
import { type Call, encodeCall, MESSAGE_LIMIT, type Reader, readMessage } from './dbus-message.ts'
import type { BusAddress } from './session-bus.ts'

/** The maximum total size of all messages in bytes. Beyond it the connection is closed. */
const TOTAL_LIMIT = 1_048_576

/** Milliseconds for the whole conversation. */
const TIME_LIMIT = 3_000

/** Errors that mean the other side closed the connection. */
const HANGS_UP = ['EPIPE', 'ECONNRESET']

const METHOD_RETURN = 2
const ERROR = 3

/** An error reply of a service. `name` is the name of the D-Bus error. */
export class DBusError extends Error {
  override readonly name: string

  constructor(name: string) {
    super(name)
    this.name = name
  }
}

interface Pending {
  answer(body: Reader, error: string | undefined): void
  fail(failure: SourceFailure): void
}

/**
 * One connection to a session bus. Calls never start a service. Whoever opens a connection must close it. It also
 * closes when the signal is aborted, and open calls then never settle.
 */
export class DBusConnection {
  readonly #socket: Socket
  readonly #guid: string | undefined
  readonly #timer: NodeJS.Timeout
  readonly #doneWithSignal: () => void
  readonly #pending = new Map<number, Pending>()
  readonly #buffer = Buffer.alloc(MESSAGE_LIMIT)
  #length = 0
  #total = 0
  #serial = 0
  #isGreeted = false
  #failure: SourceFailure | undefined
  #isClosed = false

  constructor({ path, guid }: BusAddress, { hold, signal }: Asking) {
    const { connect } = require('node:net') as typeof import('node:net')
    const onread = {
      buffer: new Uint8Array(8192),
      callback: (size: number, chunk: Uint8Array) => this.#receive(chunk.subarray(0, size)),
    }
    this.#guid = guid
    this.#timer = setTimeout(
      () => this.#fail(`no answer came over the session bus within ${TIME_LIMIT / 1000} s`, 'hung'),
      TIME_LIMIT,
    )
    this.#socket = connect({ path, onread })
    this.#socket.on('error', ({ code = '' }: NodeJS.ErrnoException) =>
      this.#fail(HANGS_UP.includes(code) ? this.#whyEnded() : `the session bus cannot be reached (${code})`),
    )
    this.#socket.on('close', () => this.#fail(this.#whyEnded()))
    if (!hold) {
      this.#timer.unref()
      this.#socket.unref()
    }
    this.#doneWithSignal = onAbort(signal, () => this.close())
    const uid = Buffer.from(String(process.geteuid!())).toString('hex')
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`)
  }

  /** A bus that rejects a user may close the connection before its answer is read. */
  #whyEnded(): string {
    return this.#isGreeted
      ? 'the session bus hangs up'
      : 'the session bus hangs up before it lets this user in'
  }

  /** The call that a bus requires first. Further calls may be sent without waiting for its reply. */
  async hello(): Promise<void> {
    const bus = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' }
    try {
      await this.call({ ...bus, interface: bus.destination, member: 'Hello' }, () => {})
    } catch (error) {
      throw error instanceof DBusError
        ? new SourceFailure('the session bus does not let this user in', 'no-bus')
        : error
    }
  }

  /**
   * Sends a call and waits for its reply.
   *
   * @param read reads the body of the reply, which is wiped after it returns
   * @throws {DBusError} if the service replies with an error
   * @throws {SourceFailure} if the connection fails
   */
  call<T>(call: Call, read: (body: Reader) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      if (this.#isClosed) return
      this.#pending.set(++this.#serial, {
        answer(body, error) {
          if (error === undefined) resolve(read(body))
          else reject(new DBusError(error))
        },
        fail: reject,
      })
      const bytes = encodeCall(call, this.#serial)
      this.#socket.write(bytes, () => wipe(bytes))
    })
  }

  close(): void {
    this.#isClosed = true
    this.#doneWithSignal()
    clearTimeout(this.#timer)
    this.#socket.destroy()
    this.#pending.clear()
    wipe(this.#buffer)
  }

  #fail(reason: string, cause: KeyCause = 'no-bus'): void {
    if (this.#isClosed) return
    const pending = [...this.#pending.values()]
    this.#failure = new SourceFailure(reason, cause)
    this.close()
    for (const { fail } of pending) fail(this.#failure)
  }

  /** @returns true, to continue reading */
  #receive(chunk: Uint8Array): boolean {
    const fits = chunk.length <= MESSAGE_LIMIT - this.#length
    if (fits) this.#buffer.set(chunk, this.#length)
    this.#length += chunk.length
    this.#total += chunk.length
    wipe(chunk)
    if (!fits || this.#total > TOTAL_LIMIT) {
      this.#fail('the session bus sends more than it should')
      return true
    }
    try {
      while (!this.#isClosed && (this.#isGreeted ? this.#takeMessage() : this.#takeGreeting())) {}
    } catch {
      this.#fail('the session bus sends data that is not D-Bus')
    }
    return true
  }

  /** @returns whether it was all there */
  #takeGreeting(): boolean {
    const end = this.#buffer.subarray(0, this.#length).indexOf('\r\n')
    if (end < 0) return false
    const [word, guid] = this.#buffer.toString('latin1', 0, end).split(' ')
    if (word !== 'OK') this.#fail('the session bus does not let this user in')
    else if (this.#guid !== undefined && guid !== this.#guid)
      this.#fail('the session bus has another guid than its address', 'not-our-bus')
    else this.#drop(end + 2)
    this.#isGreeted = true
    return true
  }

  /** @returns whether it was all there */
  #takeMessage(): boolean {
    const message = this.#length < 16 ? undefined : readMessage(this.#buffer.subarray(0, this.#length))
    if (message === undefined) return false
    const pending = this.#pending.get(message.replyTo)
    if (pending !== undefined && (message.type === METHOD_RETURN || message.type === ERROR)) {
      pending.answer(message.body, message.type === ERROR ? message.error : undefined)
      this.#pending.delete(message.replyTo)
    }
    this.#drop(message.size)
    return true
  }

  #drop(size: number): void {
    this.#buffer.copyWithin(0, size, this.#length)
    this.#buffer.fill(0, this.#length - size, this.#length)
    this.#length -= size
  }
}
