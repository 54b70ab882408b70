// The file of `ticketkeep run --summary` and `--report`. Each process of the tree appends lines of JSON as it goes, so that what
// it did counts though it is killed. Lines are added up; a later one of the same connection takes the place of the first.
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { plainJson } from '../common/plain-json.ts'
import type { ConnectionTimes } from '../tls/connection-times.ts'

/** What came of one connection. */
export interface ConnectionLine {
  /** No other connection of the tree has it. */
  readonly id: string
  readonly pid: number
  /** The name of the script that the process runs. */
  readonly program: string
  /** Empty where the call named none. */
  readonly host: string
  /** 0 where it is not known: a tunnel. */
  readonly port: number
  /** `failed`: there was no handshake. */
  readonly handshake: 'resumed' | 'full' | 'failed'
  /** Of a resumption: whether the session was one that the program kept itself. */
  readonly isProgramsOwn: boolean
  readonly protocol: string
  /** How many sessions it brought. */
  readonly sessions: number
  /** Why it was not resumed, as far as the process knows, in the words of the events. */
  readonly reason: string
  readonly times: ConnectionTimes
}

/** What came of one process. */
export interface ProcessLine {
  readonly pid: number
  /** Tickets that were stored since its last line. */
  readonly kept: number
  /** Why it can store none. */
  readonly problem: string
}

/** What the command itself is: a program that loads no preload. */
export interface NotSeenLine {
  readonly notSeen: string
}

export type Line = ConnectionLine | ProcessLine | NotSeenLine

/** A server that runs for weeks must not fill the disk. A larger file grows no more: bytes. */
export const MAX_SUMMARY_BYTES = 32 * 1024 * 1024

/** Never creates the file: it is gone once the command that asked for it has ended, before this process did. */
export function addLines(path: string, lines: readonly Line[]): void {
  try {
    const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND)
    try {
      if (fstatSync(fd).size <= MAX_SUMMARY_BYTES) writeSync(fd, encodeLines(lines))
    } finally {
      closeSync(fd)
    }
  } catch {}
}

export const encodeLines = (lines: readonly Line[]): string =>
  lines.map((line) => `${plainJson(line)}\n`).join('')

/**
 * All well-formed lines, the last one of each connection. Any program of the tree may have written them: nothing in them is
 * trusted to be what it seems.
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
