import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import tls from 'node:tls'

/** What of a process, outside the options of a call, decides trust: its flags and its environment. */
export interface ProcessTrust {
  readonly execArgv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

const digest = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('base64url')

/** The file's content digested, or what stands for a file that is not there: Node ignores it as well. */
function fileDigest(path: string | undefined): string {
  if (!path) return 'none'
  try {
    return digest(readFileSync(path))
  } catch {
    return 'unreadable'
  }
}

/** A directory's files by name, size and times: c_rehash directories hold hundreds of small ones. */
function directoryDigest(path: string): string {
  const entries = readdirSync(path)
    .sort()
    .map((name) => {
      const { size, mtimeNs, ctimeNs, ino } = statSync(join(path, name), { bigint: true })
      return `${name} ${size} ${mtimeNs} ${ctimeNs} ${ino}`
    })
  return digest(entries.join('\n'))
}

/** The flags of this process, its own and those in NODE_OPTIONS, without what follows a `=`. */
function flags({ execArgv, env }: ProcessTrust): string[] {
  return [...execArgv, ...(env.NODE_OPTIONS ?? '').split(/\s+/)].filter((flag) => flag.startsWith('--'))
}

const normal = (flag: string) => flag.replaceAll('_', '-')

/**
 * The content of what Node trusts where a call gives no `ca`, as one word, or undefined where it cannot be
 * told without reading more than a connection is worth: the system's store, and OpenSSL's own at its
 * compiled-in place.
 */
export function describeDefaultCa(trust: ProcessTrust): string | undefined {
  const given = flags(trust).map(normal)
  const { env } = trust
  if (given.includes('--use-system-ca') || env.NODE_USE_SYSTEM_CA === '1') return undefined
  const opensslBuild = process.config?.target_defaults?.defines?.includes('NODE_OPENSSL_CERT_STORE')
  const extra = `extra ${fileDigest(env.NODE_EXTRA_CA_CERTS)}`
  if (given.includes('--use-openssl-ca') || (opensslBuild && !given.includes('--use-bundled-ca'))) {
    if (!env.SSL_CERT_FILE || !env.SSL_CERT_DIR) return undefined
    const directories = env.SSL_CERT_DIR.split(process.platform === 'win32' ? ';' : ':')
    try {
      return `openssl ${fileDigest(env.SSL_CERT_FILE)} ${directories.map(directoryDigest)} ${extra}`
    } catch {
      return undefined
    }
  }
  return `${bundled()} ${extra}`
}

/** Calls back whenever the program puts other roots in the place of Node's, from now on. */
export function watchDefaultCa(changed: () => void): void {
  const module = tls as { setDefaultCACertificates?: (...args: unknown[]) => unknown }
  const original = module.setDefaultCACertificates
  if (!original) return
  module.setDefaultCACertificates = function setDefaultCACertificates(...args) {
    changed()
    return original.apply(this, args)
  }
}

/** Node's own roots, or those that the program put in their place (`tls.setDefaultCACertificates`). */
function bundled(): string {
  const { getCACertificates, setDefaultCACertificates } = tls as typeof tls & {
    getCACertificates?: (type?: string) => readonly string[]
    setDefaultCACertificates?: unknown
  }
  // Whether they were replaced before we came is known only from the list itself.
  if (getCACertificates && setDefaultCACertificates) {
    const now = getCACertificates('default')
    const own = getCACertificates('bundled')
    if (own.some((root, i) => root !== now[i])) return `replaced ${digest(now.join('\n'))}`
  }
  return `bundled ${process.version}`
}

/**
 * OpenSSL's own set-up as one word: its configuration file by content and every flag that touches it or the
 * defaults of TLS. (A level, a provider or FIPS mode set there decides what a handshake accepts.)
 */
export function describeOpenssl(trust: ProcessTrust): string {
  const touching = flags(trust)
    .map(normal)
    .filter((flag) => /^--(tls-|openssl-|force-fips|enable-fips|secure-heap)/.test(flag))
  const file = trust.env.OPENSSL_CONF ?? optionValue(trust, '--openssl-config')
  return `conf ${file ? fileDigest(file) : 'default'} flags ${touching.sort().join(' ')}`
}

function optionValue({ execArgv }: ProcessTrust, name: string): string | undefined {
  const at = execArgv.findIndex((arg) => arg === name || arg.startsWith(`${name}=`))
  if (at < 0) return undefined
  return execArgv[at]!.includes('=') ? execArgv[at]!.slice(name.length + 1) : execArgv[at + 1]
}
