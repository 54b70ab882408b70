import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Missing, missingCommands, missingRoot, runs } from '../../../support/missing.ts'
import type { TlsVersion } from '../../../support/nginx.ts'
import { folderOf, install, type NodeLine } from '../../../support/pinned.ts'
import type { ServerName } from './servers.ts'

/**
 * A way in which a program accepts a server, or refuses it. What is JavaScript here is part of the program's source,
 * with these names in scope:
 * `w`, what it knows of the server (`World` of `servers.ts`); `base`, options under which it accepts the server;
 * `tls`, `fs`; `pkg(name)`, a package of `test/support/pinned/patches`; and what `connect.cjs` exports.
 *
 * In flags, variables, files and the prefix `$RUN` is a folder that this run has for itself, and `$SERVER` one
 * that all runs share which speak to the same server.
 */
export interface Way {
  readonly name: string
  /** The servers that it is tried with. Default: `plain` to accept, all of them to refuse. */
  readonly on?: readonly ServerName[]
  /** The Nodes and the versions of TLS that have what it takes. Default: all. */
  readonly nodes?: readonly NodeLine[]
  readonly versions?: readonly TlsVersion[]
  readonly needs?: Missing
  /** It takes a second or so to start. */
  readonly isSlow?: boolean
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Put in front of the command. */
  readonly prefix?: readonly string[]
  /** Written before the program runs; default content: nothing. `w.ca` and the like name what `World` has. */
  readonly files?: Readonly<Record<string, FileContent>>
  /** Statements that run before the connection is made. A program that changes its process has it for itself. */
  readonly before?: string
  /** An expression: what `tls.connect` is called with. Default: `base`. */
  readonly options?: string
  /** A function of the socket, called in `secureConnect`; a socket of which it says false is destroyed. */
  readonly judge?: string
  /** An expression that makes the connection, in the place of `attempt(options, judge)`. */
  readonly connect?: string
}

/** What is written, or the name of a PEM of `World`, as `{ pem: 'ca' }`; with `age` in seconds, an old time. */
export type FileContent =
  | string
  | { readonly pem: 'ca' | 'other'; readonly age?: number }
  | { readonly linkTo: string }

/** Default CAs: none of the options says whom to trust. */
export const NO_CA = '{ ...base, ca: undefined }'

/** Node's functions about default CAs are in 22.19, 24.5 and later. */
export const WITH_DEFAULT_CA_FUNCTIONS = ['22', '24', '26'] as const

/** An OpenSSL configuration with one setting for all connections, in the section that Node reads. */
export const opensslConf = (setting: string, section = 'nodejs_conf') =>
  `${section} = app\n[app]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\n${setting}\n`

export const securityLevel = (level: number | string) => `CipherString = DEFAULT@SECLEVEL=${level}`

/** Above every key in these tests: 192 bits. */
export const TOO_HIGH = securityLevel(4)

/** Why the packages that patch Node cannot be had; they are installed at the first call. */
export function missingPackages(): Missing {
  const reason = install('patches')
  return reason && `the packages that patch Node: ${reason}`
}

export const PACKAGES = join(folderOf('patches'), 'node_modules')

/** Runs the command with another file in the place of the machine's OpenSSL configuration. */
export const withMachineConfiguration = (path: string) => [
  ...['unshare', '--mount', 'sh', '-c'],
  'mount --bind "$0" /etc/ssl/openssl.cnf && exec "$@"',
  path,
]

export const missingMounts = (): Missing =>
  missingRoot() ??
  missingCommands('unshare') ??
  (runs('unshare', '--mount', 'true') ? undefined : 'no mounts of a process of its own')

const libraries = '/usr/lib'
const faketime = existsSync(libraries)
  ? readdirSync(libraries)
      .map((name) => join(libraries, name, 'faketime/libfaketime.so.1'))
      .find((path) => existsSync(path))
  : undefined

export const missingClock = (): Missing =>
  faketime === undefined ? 'no clock that can be set (apt-get install faketime)' : undefined

/** A clock that a process has for itself, set forward from its start on. */
export const clockAt = (offset: string): Record<string, string> => ({
  LD_PRELOAD: faketime ?? '',
  FAKETIME: offset,
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  NO_FAKE_STAT: '1',
})

/** A clock that the process sets forward itself, by `stepClock`. */
export const clockInFile: Record<string, string> = {
  LD_PRELOAD: faketime ?? '',
  FAKETIME_TIMESTAMP_FILE: '$RUN/clock',
  FAKETIME_NO_CACHE: '1',
  FAKETIME_DONT_FAKE_MONOTONIC: '1',
  NO_FAKE_STAT: '1',
}

export const stepClock = "fs.writeFileSync(w.run + '/clock', '+1h')"

/** Wraps a function of `tls` so that `Function.prototype.toString` shows Node's own: by `how` it was patched. */
export const DISGUISES: Readonly<Record<string, string>> = {
  'a patch by hand': `
    const toString = Function.prototype.toString
    Function.prototype.toString = function () { return toString.call(this.wrapped ?? this) }
    const wrap = (name, by) => { tls[name] = Object.assign(by(tls[name]), { wrapped: tls[name] }) }`,
  '@sentry/core': `
    const sentry = pkg('@sentry/core')
    const client = {}
    sentry.getCurrentScope().setClient(client)
    const integration = sentry.functionToStringIntegration()
    integration.setupOnce()
    integration.setup(client)
    const wrap = (name, by) => sentry.fill(tls, name, by)`,
  'zone.js': `
    pkg('zone.js/node')
    const wrap = (name, by) => {
      tls[name] = Object.assign(by(tls[name]), { [Zone.__symbol__('OriginalDelegate')]: tls[name] })
    }`,
  'shimmer of dd-trace': `
    const shimmer = pkg('dd-trace/packages/datadog-shimmer')
    const wrap = (name, by) => shimmer.wrap(tls, name, by)`,
}
