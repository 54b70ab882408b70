/**
 * As much of D-Bus as one question to one service takes: little-endian messages over a UNIX socket, on the
 * session bus. Whatever comes back is read within strict bounds; anything odd ends the connection.
 *
 * Source: the D-Bus Specification, "Message Protocol" and "Authentication Protocol".
 */

import type { Socket } from 'node:net'
import { wipe } from '../../common/bytes.ts'
import type { Abandon, Asking, KeyCause } from '../key-source.ts'
import { type Call, encodeCall, MESSAGE_LIMIT, type Reader, readMessage } from './dbus-message.ts'
import type { BusAddress } from './session-bus.ts'

/** Bytes of all messages together after which a bus is given up. */
const TOTAL_LIMIT = 1_048_576

/** Milliseconds for the whole conversation. */
const TIME_LIMIT = 3_000

const METHOD_RETURN = 2
const ERROR = 3

export interface Bus {
  /** `error` is the name of a D-Bus error. What `reply` throws ends the conversation. */
  call(call: Call, reply: (body: Reader, error: string | undefined) => void): void
  /** Gives everything up. */
  readonly close: Abandon
}

/**
 * Opens the bus at a socket. Calls may be made at once: they are sent in one go behind the greeting, and no
 * service is started by them.
 *
 * @param fail called once if the conversation cannot go on, not after `close`
 */
export function openBus(
  { path, guid }: BusAddress,
  { hold }: Asking,
  fail: (reason: string, cause: KeyCause) => void,
): Bus {
  const { connect } = require('node:net') as typeof import('node:net')
  const replies = new Map<number, (body: Reader, error: string | undefined) => void>()
  const buffer = Buffer.alloc(MESSAGE_LIMIT)
  let length = 0
  let total = 0
  let greeted = false
  let serial = 0
  let socket: Socket | undefined

  const close = () => {
    clearTimeout(timer)
    socket?.destroy()
    socket = undefined
    replies.clear()
    wipe(buffer)
  }
  const end = (reason: string, cause: KeyCause = 'no-bus') => {
    if (socket === undefined) return
    close()
    fail(reason, cause)
  }
  const receive = (size: number, chunk: Uint8Array) => {
    const room = size <= MESSAGE_LIMIT - length
    if (room) buffer.set(chunk.subarray(0, size), length)
    chunk.fill(0, 0, size)
    length += size
    total += size
    if (!room || total > TOTAL_LIMIT) end('the bus sends more than it should')
    else {
      try {
        while (socket !== undefined && takeOne()) {}
      } catch {
        end('the bus sends what is not D-Bus')
      }
    }
    return true
  }
  const drop = (size: number) => {
    buffer.copyWithin(0, size, length)
    buffer.fill(0, length - size, length)
    length -= size
  }
  const takeOne = (): boolean => {
    if (!greeted) {
      const line = buffer.subarray(0, length).indexOf('\r\n')
      if (line < 0) return false
      const [word, name] = buffer.toString('latin1', 0, line).split(' ')
      if (word !== 'OK') {
        end('the bus does not let this user in')
        return false
      }
      if (guid !== undefined && name !== guid) {
        end('the bus is not the one that its address speaks of', 'not-our-bus')
        return false
      }
      greeted = true
      drop(line + 2)
    }
    if (length < 16) return false
    const message = readMessage(buffer.subarray(0, length))
    if (message === undefined) return false
    const reply = replies.get(message.replyTo)
    if (reply !== undefined && (message.type === METHOD_RETURN || message.type === ERROR)) {
      replies.delete(message.replyTo)
      reply(message.body, message.type === ERROR ? message.error : undefined)
    }
    if (socket !== undefined) drop(message.size)
    return true
  }

  const timer = setTimeout(() => end('the bus does not answer', 'hung'), TIME_LIMIT)
  socket = connect({
    path,
    onread: { buffer: new Uint8Array(8192), callback: receive },
  })
  if (!hold) {
    timer.unref()
    socket.unref()
  }
  socket.on('error', (error) => end(`the bus cannot be reached (${(error as NodeJS.ErrnoException).code})`))
  socket.on('close', () => end('the bus hangs up'))
  const uid = Buffer.from(String(process.geteuid!())).toString('hex')
  socket.write(`\0AUTH EXTERNAL ${uid}\r\nBEGIN\r\n`)

  const bus: Bus = {
    call(call, reply) {
      if (socket === undefined) return
      replies.set(++serial, reply)
      const bytes = encodeCall(call, serial)
      socket.write(bytes, () => wipe(bytes))
    },
    close,
  }
  bus.call(
    {
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'Hello',
    },
    (_, error) => error !== undefined && end('the bus does not let this user in'),
  )
  return bus
}
