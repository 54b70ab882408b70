import { peerOf } from './host-port.ts'

/**
 * Which hosts are attended. A rule is a name or an address in its one spelling (`host-port.ts`), or `*.example.com` for
 * every name below `example.com`, and not for `example.com` itself.
 */
export interface HostRules {
  /** Undefined: all that are not denied. Empty: none. */
  readonly allowed?: readonly string[] | undefined
  /** They win over those that are allowed. */
  readonly denied?: readonly string[] | undefined
}

/**
 * A rule in its one spelling.
 * @throws {TicketkeepError} `ERR_INVALID_HOST`
 */
export function hostRule(text: string): string {
  if (!text.startsWith('*.')) return canonical(text)
  const suffix = canonical(text.slice(2))
  // An address has nothing below it.
  if (suffix.includes(':') || /^[\d.]+$/.test(suffix)) throw new TypeError('an address after "*."')
  return `*.${suffix}`
}

/** Whether a host is attended under these rules. One that has no readable name is not, where there are rules. */
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
