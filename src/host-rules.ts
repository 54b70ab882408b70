import { peerOf } from './host-port.ts'

/**
 * Rules for which hosts are attended. A rule is a canonical name or address (`host-port.ts`), or `*.example.com` for
 * every name below `example.com`, but not `example.com` itself.
 */
export interface HostRules {
  /** Undefined: all hosts that are not denied. Empty: none. */
  readonly allowed?: readonly string[] | undefined
  /** These take precedence over `allowed`. */
  readonly denied?: readonly string[] | undefined
}

/**
 * The canonical form of a rule.
 * @throws {TicketkeepError} `ERR_INVALID_HOST`
 */
export function hostRule(text: string): string {
  if (!text.startsWith('*.')) return canonical(text)
  const suffix = canonical(text.slice(2))
  // An address has no subdomains.
  if (suffix.includes(':') || /^[\d.]+$/.test(suffix)) throw new TypeError('an address after "*."')
  return `*.${suffix}`
}

/** Whether a host is attended under these rules. If there are rules, a host without a valid name is not. */
export function allowsHost({ allowed, denied = [] }: HostRules, host: string): boolean {
  if (allowed === undefined && denied.length === 0) return true
  let name: string
  try {
    name = canonical(host)
  } catch {
    return false
  }
  const matches = (rule: string) => (rule.startsWith('*.') ? name.endsWith(rule.slice(1)) : name === rule)
  return !denied.some(matches) && (allowed === undefined || allowed.some(matches))
}

const canonical = (host: string): string => peerOf(host, 0).host
