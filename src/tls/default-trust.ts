import { hash } from 'node:crypto'
import { closeSync, fstatSync, lstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { isAbsolute, sep } from 'node:path'
import type { CaFunctions } from './default-ca.ts'
import { type ProcessTrust, VARIABLES } from './node-tls.ts'

/** Node reads its files when it starts, or when it first needs them: one that has changed since may be another. */
class Unreadable extends Error {}

const digest = (bytes: Uint8Array | string) => hash('sha256', bytes, 'base64url')

/**
 * A file's content, digested, if it is what it was when this process started. Not by a relative path: Node may
 * have read it in another working directory.
 */
function fileDigest(path: string): string {
  return digest(readUnchanged(path))
}

function readUnchanged(path: string): Buffer {
  try {
    if (!isAbsolute(path)) throw new Unreadable()
    const since = Date.now() - process.uptime() * 1000
    const stats = lstatSync(path)
    if (stats.ctimeMs > since) throw new Unreadable()
    if (stats.isSymbolicLink() && statSync(path).ctimeMs > since) throw new Unreadable()
    return readWhole(path)
  } catch {
    throw new Unreadable()
  }
}

/** By parts, since Node's own way calls other functions of `fs`, which the program may be watching. */
function readWhole(path: string): Buffer {
  const fd = openSync(path, 'r')
  try {
    const parts: Buffer[] = []
    // To the end: the files of some systems do not tell their size.
    const size = Math.max(fstatSync(fd).size, 4096) + 1
    for (let read = -1; read !== 0; ) {
      const part = Buffer.allocUnsafe(size)
      read = readSync(fd, part, 0, size, null)
      parts.push(part.subarray(0, read))
    }
    return Buffer.concat(parts)
  } finally {
    closeSync(fd)
  }
}

/** A directory's files by name, size and times: c_rehash directories hold hundreds of small ones. */
function directoryDigest(path: string): string {
  if (!isAbsolute(path)) throw new Unreadable()
  const entries = readdirSync(path)
    .sort()
    .map((name) => {
      const { size, mtimeNs, ctimeNs, ino } = statSync(path + sep + name, { bigint: true })
      return `${name} ${size} ${mtimeNs} ${ctimeNs} ${ino}`
    })
  return digest(entries.join('\n'))
}

/**
 * The flags of this process, its own and those in NODE_OPTIONS, with what follows a `=` or stands behind them.
 * Without those that load modules, our own among them: so that as a rule there is none, and nothing to compile
 * regular expressions for.
 */
function flags({ execArgv, env }: ProcessTrust): string[] {
  const words = [...execArgv]
  for (const word of (env.NODE_OPTIONS ?? '').split(' ')) {
    words.push(word.includes('"') || word.includes('\\') ? word.replaceAll(/["\\]/g, '') : word)
  }
  return words.filter((word) => word !== '' && !loadsModule(word)).map(spelling)
}

const loadsModule = (word: string) =>
  ['--require', '--import'].some((flag) => word === flag || word.startsWith(`${flag}=`))

/** Node takes `_` for `-` in a flag's name. */
function spelling(word: string): string {
  if (!word.startsWith('--')) return word
  const [name = '', ...value] = word.split('=')
  return [name.replaceAll('_', '-'), ...value].join('=')
}

const isOn = (given: readonly string[], flag: string) => given.includes(flag)

/** Which of a flag and its `--no-` form holds is a matter of their order. */
const takesBack = (given: readonly string[], names: readonly string[]) =>
  names.some((name) => given.includes(`--no-${name}`))

/**
 * The content of what Node trusts where a call gives no `ca`, as one word, or undefined where it cannot be
 * told without reading more than a connection is worth: the system's store, and OpenSSL's own at its
 * compiled-in place.
 *
 * @param trust of the process as it was started
 * @param generation see `TlsDefaults`
 */
export function describeDefaultCa(trust: ProcessTrust, generation: number): string | undefined {
  const given = flags(trust)
  const { env } = trust
  if (takesBack(given, ['use-system-ca', 'use-openssl-ca', 'use-bundled-ca'])) return undefined
  if (isOn(given, '--use-system-ca') || env.NODE_USE_SYSTEM_CA === '1') return undefined
  const opensslBuild = process.config?.target_defaults?.defines?.includes('NODE_OPENSSL_CERT_STORE')
  try {
    const extra = env.NODE_EXTRA_CA_CERTS ? fileDigest(env.NODE_EXTRA_CA_CERTS) : 'none'
    if (isOn(given, '--use-openssl-ca') || (opensslBuild && !isOn(given, '--use-bundled-ca'))) {
      const { SSL_CERT_FILE: file, SSL_CERT_DIR: directory } = env
      // Node has no list of these that would tell whether the program has put others in their place.
      if (!file || !directory || generation !== 0) return undefined
      // OpenSSL asks the environment itself, at the first use of its store: whenever that was.
      if (file !== process.env.SSL_CERT_FILE || directory !== process.env.SSL_CERT_DIR) return undefined
      const directories = directory.split(process.platform === 'win32' ? ';' : ':')
      return `openssl ${fileDigest(file)} ${directories.map(directoryDigest)} extra ${extra}`
    }
    const own = generation === 0 ? undefined : replacement()
    return `${own ?? `bundled ${process.version}`} extra ${extra}`
  } catch {
    return undefined
  }
}

/** The CAs that the program has put in the place of Node's own (`tls.setDefaultCACertificates`), if it has. */
function replacement(): string | undefined {
  const { getCACertificates } = require('node:tls') as CaFunctions
  if (!getCACertificates) return undefined
  const now = getCACertificates('default').join('\n')
  const own = [...getCACertificates('bundled'), ...getCACertificates('extra')].join('\n')
  return now === own ? undefined : `replaced ${digest(now)}`
}

/**
 * OpenSSL's own set-up as one word: its configuration file by content and every flag that touches it or the
 * defaults of TLS. (A level, a provider or FIPS mode set there decides what a handshake accepts.) Undefined
 * where it cannot be told: in a worker thread, whose flags and environment are not the process's, and under a
 * configuration file of Node's own, which can set all of them.
 *
 * @param trust of the process as it was started
 */
export function describeOpenssl(trust: ProcessTrust): string | undefined {
  const given = flags(trust)
  const isWorker = (process.chdir as { disabled?: boolean }).disabled === true
  if (isWorker || !isAsStarted(trust) || given.some((flag) => flag.includes('-config-file'))) return undefined
  const touching = given.filter(
    (flag) =>
      flag.startsWith('--') && /^--(?:no-)?(tls-|openssl-|force-fips|enable-fips|secure-heap)/.test(flag),
  )
  const shared = isOn(given, '--openssl-shared-config')
  if (takesBack(given, ['openssl-shared-config'])) return undefined
  try {
    const file = valueOfFlag(given, '--openssl-config') ?? (trust.env.OPENSSL_CONF || undefined)
    const conf = file ? configurationDigest(file) : compiledInConfiguration(shared)
    return `conf ${conf} flags ${touching.sort().join(' ')}`
  } catch {
    return undefined
  }
}

/**
 * Whether the environment that was noted is the one that Node and OpenSSL have read as the process started. A program
 * can have changed it before it loads us, `--env-file` fills it in too late for Node's own variables, and a process
 * with the rights of another user (setuid, capabilities; AT_SECURE) is not to look at them at all.
 */
function isAsStarted(trust: ProcessTrust): boolean {
  const { env, isLate } = trust
  const some = VARIABLES.some((name) => name !== 'NODE_OPTIONS' && env[name] !== undefined)
  if (!some && !isLate) return true
  const { getuid, geteuid, getgid, getegid, platform } = process
  if (platform !== 'linux') {
    if (getuid?.() !== geteuid?.() || getgid?.() !== getegid?.()) return false
    return !some || !(isLate || flags(trust).some((flag) => flag.startsWith('--env-file')))
  }
  try {
    if (isWithOthersRights()) return false
    const started = readWhole('/proc/self/environ').toString('utf8').split('\0')
    return VARIABLES.every((name) => {
      const entry = started.find((one) => one.startsWith(`${name}=`))
      // NODE_OPTIONS of an `--env-file` is in force.
      return entry?.slice(name.length + 1) === env[name] || (name === 'NODE_OPTIONS' && !isLate)
    })
  } catch {
    return false
  }
}

/** AT_SECURE of getauxval(3), which Node and OpenSSL go by. */
function isWithOthersRights(): boolean {
  const bytes = new Uint8Array(readWhole('/proc/self/auxv')).buffer
  const words = /64|s390x/.test(process.arch) ? new BigUint64Array(bytes) : new Uint32Array(bytes)
  for (let i = 0; i + 1 < words.length; i += 2)
    if (Number(words[i]) === AT_SECURE) return Number(words[i + 1]) !== 0
  return true
}

const AT_SECURE = 23

/** A configuration that is all in its own file: none that includes others, or asks the environment (config(5)). */
function configurationDigest(path: string): string {
  const text = readUnchanged(path)
  if (/^\s*\.include|\$[{(]?\s*ENV::/m.test(text.toString('latin1'))) throw new Unreadable()
  return digest(text)
}

/** The place that Node's own builds are compiled for, except on Windows, where it is beside the program files. */
const OPENSSL_CONFIGURATION = '/etc/ssl/openssl.cnf'

/** Node reads only the section `nodejs_conf` of the machine's file, which as a rule has none. */
function compiledInConfiguration(shared: boolean): string {
  let bytes: Buffer
  try {
    bytes = readWhole(OPENSSL_CONFIGURATION)
  } catch {
    return 'none'
  }
  return shared || bytes.includes('nodejs_conf') ? configurationDigest(OPENSSL_CONFIGURATION) : 'none'
}

/** The value of a flag that takes one, the last of several: behind a `=`, or the next word. */
function valueOfFlag(given: readonly string[], name: string): string | undefined {
  const at = given.findLastIndex((word) => word === name || word.startsWith(`${name}=`))
  const word = given[at]
  if (word === undefined) return undefined
  return word === name ? given[at + 1] : word.slice(name.length + 1)
}

/**
 * OpenSSL's own default: level 2 since 3.2, level 1 before. A distribution that links Node with its own OpenSSL
 * may have compiled in another.
 */
export function defaultSecurityLevel(): 1 | 2 {
  const { node_shared_openssl: shared } = process.config.variables as { node_shared_openssl?: boolean }
  const [major = 0, minor = 0] = process.versions.openssl.split('.').map(Number)
  return shared || major > 3 || (major === 3 && minor >= 2) ? 2 : 1
}
