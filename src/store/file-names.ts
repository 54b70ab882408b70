/** One ticket's slot: `s0` to `sf` for tickets that are used once, `r0` to `r3` for reusable ones. */
export type Slot = string

export const SINGLE_USE_SLOTS: readonly Slot[] = [...'0123456789abcdef'].map((digit) => `s${digit}`)
export const REUSABLE_SLOTS: readonly Slot[] = [...'0123'].map((digit) => `r${digit}`)

/** In every directory that backups should pass by (https://bford.info/cachedir/). */
export const CACHEDIR_TAG = 'CACHEDIR.TAG'

// base64url contains '-', so the parts are told apart by position: 11-22-11.2 characters.
const TICKET_FILE = /^[\w-]{11}-[\w-]{22}-[\w-]{11}\.(?:s[0-9a-f]|r[0-3])$/
const TEMPORARY_FILE = /^ticketkeep-[\w-]{16}\.tmp$/
const COMPILED_FILE = /^[a-z]+\.v\d[^/]*\.v8(\.[0-9a-f]+)?$/
const PEER_END = 34

/** Whether a file of this name can be a ticket of ours, under whatever key. */
export const isTicketFile = (name: string) => TICKET_FILE.test(name)

/** Whether it is the name of compiled code of ours (`load-compiled.ts`), or of such on its way. */
export const isCompiledFile = (name: string) => COMPILED_FILE.test(name)

/** Whether it is the name of a file that one of our processes is writing or taking, or died over. */
export const isTemporaryFile = (name: string) => TEMPORARY_FILE.test(name)

/**
 * A new temporary name, which no other process has either: two that had one would take one ticket together. Not by
 * `Math.random`, which is the program's, and may be seeded.
 */
export function temporaryName(): string {
  const [seconds, nanoseconds] = process.hrtime()
  return `ticketkeep-${digits(process.pid, 5)}${digits(seconds, 5)}${digits(nanoseconds, 6)}.tmp`
}

const digits = (n: number, count: number) => (n % 36 ** count).toString(36).padStart(count, '0')

/** What the names of all of a peer's files begin with. */
export const peerPrefix = (kid: string, peerName: string) => `${kid}-${peerName}-`

/** `kid` and peer of a ticket file's name, as one string: equal for files of one peer under one key. */
export const peerOfFile = (name: string) => name.slice(0, PEER_END)

/** `kid` of a ticket file's name. */
export const kidOfFile = (name: string) => name.slice(0, 11)

/** The name, or path, of a ticket file without its slot: one for each key, peer and binding. */
export const withoutSlot = (name: string) => name.slice(0, -2)

/** Whether the ticket in the file is for one use. */
export const isSingleUse = (name: string) => name.at(-2) === 's'
