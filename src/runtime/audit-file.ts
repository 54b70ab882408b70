// The administrator's audit log: one line of JSON per decision.
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs'
import { plainJson } from '../common/plain-json.ts'
import type { AuditRule } from '../policy.ts'
import type { EventDetail, EventName } from '../tls/events.ts'

/** The maximum length of a host or a reason: characters. */
const MOST = 256

/** Opens the log for appending. @throws with the reason as a phrase for people */
function openAudit({ file, maxBytes }: AuditRule): { readonly fd: number; readonly isFull: boolean } {
  let fd: number
  try {
    const { O_WRONLY, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants
    fd = openSync(file, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Error(code === 'ENOENT' ? `${file} does not exist` : `${file} cannot be opened (${code})`)
  }
  const stats = fstatSync(fd)
  const problem =
    !stats.isFile() || stats.uid !== 0
      ? `${file} is not a regular file owned by root`
      : (stats.mode & 0o022) === 0
        ? `${file} can be written only by root: chmod 622`
        : undefined
  if (problem === undefined) return { fd, isFull: stats.size >= maxBytes }
  closeSync(fd)
  throw new Error(problem)
}

/** Why decisions cannot be logged, as a phrase for people. Undefined if they can, or if the log is full. */
export function whyNoAudit(rule: AuditRule): string | undefined {
  try {
    closeSync(openAudit(rule).fd)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** Whether the log has reached its size limit. Nothing more is then written to it. */
export function isAuditFull(rule: AuditRule): boolean {
  const { fd, isFull } = openAudit(rule)
  closeSync(fd)
  return isFull
}

/**
 * Appends a line, which never contains a ticket. All fields are always present:
 * `{"time":"2026-01-01T00:00:00.000Z","uid":1000,"pid":4711,"decision":"offer","host":"registry.example","port":443,"reason":null}`.
 * Port and host are null if they are not known.
 *
 * @param now milliseconds since 1970
 */
export function audit(rule: AuditRule, decision: EventName, detail: EventDetail, now: number): void {
  const { fd, isFull } = openAudit(rule)
  try {
    const { host, port, reason } = detail
    const line = {
      time: new Date(now).toISOString(),
      uid: process.getuid?.() ?? null,
      pid: process.pid,
      decision,
      host: host ? host.slice(0, MOST) : null,
      port: port || null,
      reason: reason?.slice(0, MOST) ?? null,
    }
    if (!isFull) writeSync(fd, `${plainJson(line)}\n`)
  } finally {
    closeSync(fd)
  }
}
