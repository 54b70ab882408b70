import { existsSync } from 'node:fs'
import type { AuditRule, Policy, PolicyRules } from '../policy.ts'
import { isAuditFull, whyNoAudit } from '../runtime/audit-file.ts'
import { type Block, bytes, duration } from './render.ts'

/** A policy in the JSON form of the commands. */
export const policyJson = ({ path, state, problem, rules }: Policy) => ({
  path,
  state,
  problem: problem ?? null,
  rules,
})

/**
 * Why a readable policy cannot be applied, as a phrase for people: if decisions cannot be logged, nothing is offered or
 * stored.
 */
export function whyNotObeyed({ rules }: Policy): string | undefined {
  const problem = rules.audit && whyNoAudit(rules.audit)
  return problem === undefined ? undefined : `the policy requires an audit log, and ${problem}`
}

/** How to create the audit file. Undefined if it exists or is not wanted. */
export function adviceOnAudit({ rules: { audit } }: Policy): string | undefined {
  if (!audit || existsSync(audit.file)) return undefined
  return `Root creates it with: install -D -m 622 /dev/null ${audit.file}`
}

/** The policy file in one line: `none`, or its path and state. */
export function spellPolicy({ path, state, problem }: Policy): string {
  if (state === 'absent') return 'none'
  return state === 'in force' ? `${path}, in force` : `${path} is wrong: ${problem}`
}

/** A table with one row per field: what it decides. */
export function describeRules(rules: PolicyRules): Block[] {
  const rows = Object.entries(rules).map(([field, value]) => {
    const words = WORDS[field as keyof PolicyRules] as (value: unknown) => string
    return [`  ${field}`, words(value)]
  })
  return rows.length > 0 ? [{ table: rows }] : ['  It sets nothing.']
}

const WORDS: { readonly [Field in keyof PolicyRules]-?: (value: NonNullable<PolicyRules[Field]>) => string } =
  {
    disable: (value) => (value ? 'nothing is offered or stored, for anybody' : 'not disabled'),
    keySources: (names) => `the key comes from ${listed(names)}, or nothing is stored`,
    allowHosts: (hosts) => `only these hosts are attended: ${listed(hosts)}`,
    denyHosts: (hosts) => `these hosts are left alone: ${listed(hosts)}`,
    maxAgeSeconds: (seconds) => `no ticket is offered ${duration(seconds)} after its full handshake`,
    cipher: (name) => `new tickets are encrypted with ${name}`,
    clientCertificates: (value) =>
      value
        ? 'users may store sessions made with a client certificate'
        : 'no session made with a client certificate is stored',
    pool: (value) =>
      value ? 'users may share tickets through a pool' : 'no ticket is shared through a pool',
    audit: (rule) => describeAudit(rule),
    metrics: (value) => (value ? 'programs count what they do' : 'programs count nothing'),
  }

const listed = (names: readonly string[]) => names.join(', ') || 'none'

function describeAudit(rule: AuditRule | undefined): string {
  if (!rule) return 'no audit'
  const words = `each decision is a line of ${rule.file}, up to ${bytes(rule.maxBytes)}`
  try {
    return isAuditFull(rule) ? `${words}: it is full, and decisions are no longer logged` : words
  } catch {
    return words
  }
}
