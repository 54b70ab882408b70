import { isAbsolute, join } from 'node:path'
import { CIPHER_NAMES, type CipherName } from './ciphers.ts'
import { configDirectory } from './common/config-directory.ts'
import { TicketkeepError } from './errors.ts'
import type { HostRules } from './host-rules.ts'
import { KEY_SOURCE_NAMES, type KeySourceName } from './key-sources.ts'
import { type Policy, readPolicy } from './policy.ts'
import { MAX_AGE } from './ticket-entry.ts'

/** What decides where the master key comes from. Holds secrets: never logged, never serialised. */
export interface KeySettings {
  /** The source asked for, or `auto`. */
  readonly source: KeySourceName | 'auto'
  /** The sources that the policy allows. Undefined: all. */
  readonly allowed?: readonly KeySourceName[]
  /** `TICKETKEEP_KEY`: canonical base64 of 32 bytes. */
  readonly variable: string | undefined
  /** `TICKETKEEP_KEY_FILE`: an absolute path. */
  readonly file: string | undefined
  /** Where a key file is looked for when `file` is not set. */
  readonly defaultFile: string | undefined
  /** `TICKETKEEP_KEY_COMMAND`: a command line. */
  readonly command: string | undefined
  /** `CREDENTIALS_DIRECTORY`, which systemd sets for a service with credentials. */
  readonly credentialsDirectory: string | undefined
  /** `DBUS_SESSION_BUS_ADDRESS`. */
  readonly sessionBus: string | undefined
  /** `XDG_RUNTIME_DIR`: private to the user, in memory, gone at logout. */
  readonly runtimeDirectory: string | undefined
}

/** What is in force: every variable, read in one place, and above them the policy of the machine. */
export interface Settings {
  readonly disabled: boolean
  /** What disables it, in words. */
  readonly disabledBy: string | undefined
  readonly policy: Policy
  /** By the policy. */
  readonly hosts: HostRules
  /** How long after a full handshake a ticket may be offered: seconds. */
  readonly maxAge: number
  /** `TICKETKEEP_DIR`: an absolute path. Undefined: the default directory. */
  readonly directory: string | undefined
  readonly key: KeySettings
  readonly cipher: CipherName
  /** `TICKETKEEP_REUSE=1`: TLS 1.3 tickets are offered more than once. */
  readonly reuse: boolean
  /** `TICKETKEEP_CLIENT_CERT=1`: sessions made with a client certificate are kept. */
  readonly clientCertificates: boolean
}

/**
 * Variables by their names.
 * @inline
 */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Whether tickets are switched off for this process: by `TICKETKEEP_DISABLE`, or by
 * `AUBE_DISABLE_TLS_TICKET_CACHE` with any value at all, as the project that it comes from has it. The policy of the machine is
 * not read here. `ticketkeep status` shows it.
 *
 * @param env variables to read instead of `process.env`
 * @returns true if no session is offered or stored
 */
export function isDisabled(env: Environment = process.env): boolean {
  return env.AUBE_DISABLE_TLS_TICKET_CACHE !== undefined || given(env.TICKETKEEP_DISABLE) !== undefined
}

/** Set by `ticketkeep run --summary` and `--report`: the file to which each process adds what came of its connections. */
export const summaryFileOf = (env: Environment = process.env): string | undefined =>
  given(env.TICKETKEEP_SUMMARY_FILE)

/** `TICKETKEEP_POOL`: the URL of the fleet's pool, with or without a password. Only commands look at it. */
export const poolUrl = (env: Environment = process.env) => given(env.TICKETKEEP_POOL)

/**
 * @param env in place of the environment of the process. The policy is that of the machine all the same
 * @throws {TicketkeepError} `ERR_INVALID_SETTING`, naming the variable and what it may be.
 */
export const readSettings = (env: Environment = process.env): Settings =>
  underPolicy(readWishes(env), readPolicy())

/** What a user has set. */
type Wishes = Omit<Settings, 'disabledBy' | 'policy' | 'hosts' | 'maxAge'>

/** A policy forbids, and never allows what the user has not asked for. The cipher is the one exception. */
function underPolicy(wishes: Wishes, policy: Policy): Settings {
  const { rules, path } = policy
  const byPolicy =
    policy.state === 'wrong'
      ? `disabled for everybody: the policy ${path} is wrong: ${policy.problem}`
      : rules.disable
        ? `disabled for everybody by the policy ${path}`
        : undefined
  const allowed = byPolicy === undefined ? rules.keySources : []
  return {
    ...wishes,
    disabled: wishes.disabled || byPolicy !== undefined,
    disabledBy: byPolicy ?? (wishes.disabled ? DISABLED_BY_USER : undefined),
    policy,
    hosts: { allowed: rules.allowHosts, denied: rules.denyHosts },
    maxAge: rules.maxAgeSeconds ?? MAX_AGE,
    key: { ...wishes.key, ...(allowed && { allowed }) },
    cipher: rules.cipher ?? wishes.cipher,
    clientCertificates: wishes.clientCertificates && rules.clientCertificates !== false,
  }
}

const DISABLED_BY_USER = 'disabled by TICKETKEEP_DISABLE or AUBE_DISABLE_TLS_TICKET_CACHE'

function readWishes(env: Environment): Wishes {
  const configuration = configDirectory()
  return {
    disabled: isDisabled(env),
    directory: path('TICKETKEEP_DIR', env.TICKETKEEP_DIR),
    key: {
      source:
        oneOf('TICKETKEEP_KEY_SOURCE', env.TICKETKEEP_KEY_SOURCE, ['auto', ...KEY_SOURCE_NAMES]) ?? 'auto',
      variable: given(env.TICKETKEEP_KEY),
      file: path('TICKETKEEP_KEY_FILE', env.TICKETKEEP_KEY_FILE),
      defaultFile: configuration && join(configuration, 'key'),
      command: given(env.TICKETKEEP_KEY_COMMAND),
      credentialsDirectory: text(env.CREDENTIALS_DIRECTORY),
      sessionBus: text(env.DBUS_SESSION_BUS_ADDRESS),
      runtimeDirectory: absolute(env.XDG_RUNTIME_DIR),
    },
    cipher: oneOf('TICKETKEEP_CIPHER', env.TICKETKEEP_CIPHER, CIPHER_NAMES) ?? 'xsalsa20-poly1305',
    reuse: given(env.TICKETKEEP_REUSE) !== undefined,
    clientCertificates: given(env.TICKETKEEP_CLIENT_CERT) !== undefined,
  }
}

/** Words for "no": a variable of ours that holds one counts as not set, whatever it is for. */
const NO = ['', '0', 'no', 'off', 'false']

const given = (value: string | undefined) =>
  value === undefined || NO.includes(value.toLowerCase()) ? undefined : value

/** Of a variable of the system's. */
const text = (value: string | undefined) => (value === '' ? undefined : value)

/** The XDG Base Directory Specification has programs ignore relative paths. */
const absolute = (value: string | undefined) => (value !== undefined && isAbsolute(value) ? value : undefined)

// The message does not quote the value: it may be a key that was put into the wrong variable.
function path(name: string, value: string | undefined): string | undefined {
  const wanted = given(value)
  if (wanted === undefined || isAbsolute(wanted)) return wanted
  throw new TicketkeepError(
    'ERR_INVALID_SETTING',
    `${name} must be an absolute path: it is not relative to anything, and a "~" at its start is not expanded`,
  )
}

function oneOf<T extends string>(
  name: string,
  value: string | undefined,
  allowed: readonly T[],
): T | undefined {
  const wanted = given(value)
  if (wanted === undefined || (allowed as readonly string[]).includes(wanted)) return wanted as T | undefined
  throw new TicketkeepError('ERR_INVALID_SETTING', `${name} must be one of ${allowed.join(', ')}`)
}
