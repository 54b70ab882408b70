// The file of `ticketkeep run --summary` and `--report`. Each process of the tree appends lines of JSON while it runs,
// so its work is counted even if it is killed. Process lines are added up. A later line of a connection replaces an
// earlier one.
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { plainJson } from '../common/plain-json.ts'
import type { ConnectionTimes } from '../tls/connection-times.ts'

/** The outcome of one connection. */
export interface ConnectionLine {
  /** Unique in the process tree. */
  readonly id: string
  readonly pid: number
  /** The name of the script that the process runs. */
  readonly program: string
  /** Empty if the call named none. */
  readonly host: string
  /** 0 if it is not known, as in a tunnel. */
  readonly port: number
  /** `failed`: the handshake did not complete. */
  readonly handshake: 'resumed' | 'full' | 'failed'
  /** For a resumption: whether the program itself kept the session. */
  readonly isProgramsOwn: boolean
  readonly protocol: string
  /** How many sessions were kept from it. */
  readonly sessions: number
  /** Why it was not resumed, as far as the process knows: the reason of an event. */
  readonly reason: string
  readonly times: ConnectionTimes
}

/** The outcome of one process. */
export interface ProcessLine {
  readonly pid: number
  /** The number of tickets stored since its last line. */
  readonly kept: number
  /** Why the process can store none. */
  readonly problem: string
}

/** Written by the command itself: a program was started that does not load the preload. */
export interface NotSeenLine {
  readonly notSeen: string
}

export type Line = ConnectionLine | ProcessLine | NotSeenLine

/** The size limit of the file, in bytes, so that a server that runs for weeks cannot fill the disk. */
export const MAX_SUMMARY_BYTES = 32 * 1024 * 1024

/**
 * Appends lines. Never creates the file: the command removes it when it ends, which may be before this process ends.
 */
export function addLines(path: string, lines: readonly Line[]): void {
  try {
    const fd = openSummary(path, constants.O_WRONLY | constants.O_APPEND)
    try {
      if (fstatSync(fd).size <= MAX_SUMMARY_BYTES) writeSync(fd, encodeLines(lines))
    } finally {
      closeSync(fd)
    }
  } catch {}
}

/**
 * Opens the file for reading or writing. In a folder that others can write to, they may have put something else in its place: a
 * pipe, which would hang, or a link to another file of the user.
 *
 * @throws if it is not a regular file of this user alone
 */
export function openSummary(path: string, flags: number): number {
  const fd = openSync(path, flags | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
  const stats = fstatSync(fd)
  const isOurs = process.platform === 'win32' || (stats.uid === process.geteuid!() && stats.nlink === 1)
  if (stats.isFile() && isOurs) return fd
  closeSync(fd)
  throw new Error('it is not a regular file of this user alone')
}

export const encodeLines = (lines: readonly Line[]): string =>
  lines.map((line) => `${plainJson(line)}\n`).join('')

/**
 * All well-formed lines, and only the last one of each connection. Any program of the tree may have written them, so
 * nothing in them is trusted.
 */
export function decodeLines(text: string): Line[] {
  const lines = new Map<unknown, Line>()
  for (const one of text.split('\n')) {
    const line = readLine(one)
    if (line) lines.set('id' in line ? line.id : line, line)
  }
  return [...lines.values()]
}

function readLine(text: string): Line | undefined {
  let value: Record<string, unknown>
  try {
    value = Object(JSON.parse(text))
  } catch {
    return undefined
  }
  if (isText(value.notSeen)) return { notSeen: value.notSeen }
  const { pid, kept, problem } = value
  if (!isCount(pid)) return undefined
  if (isCount(kept) && isText(problem)) return { pid, kept, problem }
  return readConnection(value)
}

function readConnection(value: Record<string, unknown>): ConnectionLine | undefined {
  const { id, pid, program, host, port, handshake, isProgramsOwn, protocol, sessions, reason } = value
  const times = readTimes(value.times)
  if (!isCount(pid) || !isCount(port) || port > 65_535 || !isCount(sessions) || !times) return undefined
  if (!isText(id) || !isText(program) || !isText(host) || !isText(protocol) || !isText(reason))
    return undefined
  if (handshake !== 'resumed' && handshake !== 'full' && handshake !== 'failed') return undefined
  if (typeof isProgramsOwn !== 'boolean') return undefined
  return { id, pid, program, host, port, handshake, isProgramsOwn, protocol, sessions, reason, times }
}

const TIMES = ['lookedUp', 'attempted', 'connected', 'secure', 'firstByte'] as const

function readTimes(value: unknown): ConnectionTimes | undefined {
  const given = Object(value) as Record<string, unknown>
  if (!isTime(given.called)) return undefined
  const times: ConnectionTimes = { called: given.called }
  for (const name of TIMES) {
    const time = given[name]
    if (isTime(time) && time >= times.called) times[name] = time
  }
  return times
}

const isTime = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 1024
