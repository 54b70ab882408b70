// The policy that the administrator of a machine sets for all users. `settings.ts` applies it over a user's settings.
import { closeSync, constants, fstatSync, lstatSync, openSync, readSync, type Stats } from 'node:fs'
import { CIPHER_NAMES, type CipherName } from './ciphers.ts'
import { SYSTEM_FOLDER } from './common/system-folder.ts'
import { hostRule } from './host-rules.ts'
import { KEY_SOURCE_NAMES, type KeySourceName } from './key-sources.ts'
import { MAX_AGE } from './ticket-entry.ts'

/** The fields of the policy file. A missing field sets nothing. */
export interface PolicyRules {
  /** Nothing is offered or stored. */
  readonly disable?: boolean
  /** The key sources that may be used. `memory` is always allowed. */
  readonly keySources?: readonly KeySourceName[]
  /** Only these hosts are attended. Exact names, and `*.example.com`. */
  readonly allowHosts?: readonly string[]
  /** Hosts that are left alone, whatever `allowHosts` says. */
  readonly denyHosts?: readonly string[]
  /** How long after a full handshake a ticket may be offered: 1 to 86,400 seconds. */
  readonly maxAgeSeconds?: number
  /** The cipher for new tickets. */
  readonly cipher?: CipherName
  /** `false`: sessions made with a client certificate are not stored, whatever the user sets. */
  readonly clientCertificates?: boolean
  /** `false`: no tickets are given to or taken from a fleet's pool. */
  readonly pool?: boolean
  /** Each offer, resumption, harvest and refusal is logged as a line of this file. */
  readonly audit?: AuditRule | undefined
  /** Programs count what they do, for `ticketkeep status --prometheus`. */
  readonly metrics?: boolean
}

export interface AuditRule {
  /** An absolute path. */
  readonly file: string
  /** Nothing is appended once the file has this size: bytes. */
  readonly maxBytes: number
}

/** The result of reading the policy file. */
export interface Policy {
  readonly path: string
  /** `wrong`: the file exists but is not a valid policy. ticketkeep is then disabled for all users. */
  readonly state: 'absent' | 'in force' | 'wrong'
  /** For `wrong`: the reason, a phrase for people without a full stop. */
  readonly problem?: string
  readonly rules: PolicyRules
}

export const POLICY_FILE = `${SYSTEM_FOLDER}${process.platform === 'win32' ? '\\' : '/'}policy.json`

/** The maximum size of the file in bytes: longer than any list of hosts that a person would read. */
const MAX_BYTES = 65_536

export const DEFAULT_AUDIT: AuditRule = {
  file: '/var/log/ticketkeep/audit.jsonl',
  maxBytes: 16 * 1024 * 1024,
}

/** Reads the policy of this machine. Without a policy this costs one failed `open`. Never throws. */
export function readPolicy(): Policy {
  return readPolicyFile(POLICY_FILE, whyNotRoots)
}

/** Reads a policy file that is not in force yet, whoever owns it. */
export const readDraft = (path: string): Policy => readPolicyFile(path, () => undefined)

type Check = (path: string, stats: Stats) => string | undefined

function readPolicyFile(path: string, whyNotTrusted: Check): Policy {
  const wrong = (problem: string): Policy => ({ path, state: 'wrong', problem, rules: {} })
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
    const stats = fstatSync(fd)
    if (!stats.isFile()) return wrong('it is not a regular file')
    const problem = whyNotTrusted(path, stats)
    if (problem !== undefined) return wrong(problem)
    const bytes = Buffer.alloc(MAX_BYTES + 1)
    const length = readSync(fd, bytes)
    if (length > MAX_BYTES) return wrong('it is over 64 KiB')
    return { path, state: 'in force', rules: parsePolicy(bytes.toString('utf8', 0, length)) }
  } catch (error) {
    if (error instanceof PolicyError) return wrong(error.message)
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return { path, state: 'absent', rules: {} }
    return wrong(code === 'ELOOP' ? 'it is a symbolic link' : `it cannot be read (${code})`)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/**
 * Why a file is not trusted as root's own. Windows has no such modes. There only the folder's access rights keep users
 * from writing to it.
 */
export function whyNotRoots(path: string, stats: Stats): string | undefined {
  // Windows has no O_NOFOLLOW.
  if (process.platform === 'win32') return lstatSync(path).isFile() ? undefined : 'it is a link'
  const folder = path.slice(0, path.lastIndexOf('/'))
  return whoseProblem('it', stats) ?? whoseProblem(folder, lstatSync(folder))
}

function whoseProblem(what: string, { uid, mode }: Stats): string | undefined {
  if (uid !== 0) return `${what} belongs to user ${uid}, not to root: chown root`
  if ((mode & 0o022) === 0) return undefined
  return `${what} can be written by others (mode ${(mode & 0o7777).toString(8).padStart(4, '0')}): chmod go-w`
}

/** The message is a sentence about the file, without a full stop. */
class PolicyError extends Error {}

/** @throws {PolicyError} */
function parsePolicy(text: string): PolicyRules {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    throw new PolicyError(`it is not JSON: ${(error as Error).message}`)
  }
  return object<PolicyRules>('it', json, FIELDS)
}

/** Reads one value. @throws {PolicyError} */
type Read<T> = (name: string, value: unknown) => T

function object<T extends object>(
  name: string,
  value: unknown,
  fields: { readonly [Name in keyof T]-?: Read<T[Name]> },
): T {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PolicyError(`${name} is not an object`)
  const read = Object.entries(value).map(([field, one]) => {
    if (!Object.hasOwn(fields, field))
      throw new PolicyError(
        `"${field}" is not a field of ${name === 'it' ? 'a policy' : name}: ${Object.keys(fields).join(', ')}`,
      )
    return [field, fields[field as keyof T](`"${field}"`, one)]
  })
  return Object.fromEntries(read) as T
}

const boolean: Read<boolean> = (name, value) => {
  if (typeof value !== 'boolean') throw new PolicyError(`${name} is neither true nor false`)
  return value
}

const integer =
  (least: number, most: number): Read<number> =>
  (name, value) => {
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most)
      return value as number
    throw new PolicyError(`${name} is not a whole number from ${least} to ${most}`)
  }

const oneOf =
  <T extends string>(allowed: readonly T[]): Read<T> =>
  (name, value) => {
    if ((allowed as readonly unknown[]).includes(value)) return value as T
    throw new PolicyError(`${name}: ${JSON.stringify(value)} is not one of ${allowed.join(', ')}`)
  }

const list =
  <T>(read: Read<T>): Read<readonly T[]> =>
  (name, value) => {
    if (!Array.isArray(value)) throw new PolicyError(`${name} is not a list`)
    return value.map((one) => read(name, one))
  }

const host: Read<string> = (name, value) => {
  try {
    return hostRule(value as string)
  } catch {
    throw new PolicyError(
      `${name}: ${JSON.stringify(value)} is not a host: give a name, an address, or *.example.com (no port)`,
    )
  }
}

const absolutePath: Read<string> = (name, value) => {
  if (typeof value === 'string' && value.startsWith('/') && !value.includes('\0')) return value
  throw new PolicyError(`${name} is not an absolute path`)
}

const audit: Read<AuditRule | undefined> = (name, value) => {
  if (value === false) return undefined
  if (process.platform === 'win32') throw new PolicyError(`${name}: there is no audit on Windows`)
  if (value === true) return DEFAULT_AUDIT
  const fields = { file: absolutePath, maxBytes: integer(4096, 2 ** 32) }
  return { ...DEFAULT_AUDIT, ...object<Partial<AuditRule>>(name, value, fields as never) }
}

const FIELDS: { readonly [Name in keyof PolicyRules]-?: Read<PolicyRules[Name]> } = {
  disable: boolean,
  keySources: list(oneOf(KEY_SOURCE_NAMES)),
  allowHosts: list(host),
  denyHosts: list(host),
  maxAgeSeconds: integer(1, MAX_AGE),
  cipher: oneOf(CIPHER_NAMES),
  clientCertificates: boolean,
  pool: boolean,
  audit,
  metrics: boolean,
}
