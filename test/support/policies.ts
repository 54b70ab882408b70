import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PolicyRules } from '../../src/policy.ts'
import { type Missing, missingCommands, missingRoot } from './missing.ts'

/**
 * Words before a command, which then runs in its own mount namespace, where `/etc/ticketkeep` is a copy of this folder.
 * The path of a policy is fixed. So tests can run side by side, and nothing of the machine is changed.
 */
export const withPolicyFolder = (folder: string, ...commands: readonly string[]): string[] => [
  ...['unshare', '--mount', 'sh', '-ec'],
  [
    'mount -t tmpfs tmpfs /mnt',
    'mkdir /mnt/upper /mnt/work',
    'mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc',
    'rm -rf /etc/ticketkeep',
    'cp -a "$0" /etc/ticketkeep',
    ...commands,
    'exec "$@"',
  ].join('; '),
  folder,
]

/** The same with a folder of root that contains this policy. */
export function withPolicy(sandbox: { readonly directory: string }, rules: PolicyFile | string): string[] {
  const folder = mkdtempSync(join(sandbox.directory, 'policy-'))
  chmodSync(folder, 0o755)
  writeFileSync(join(folder, 'policy.json'), typeof rules === 'string' ? rules : JSON.stringify(rules))
  return withPolicyFolder(folder)
}

/** The text of the policy. */
export type PolicyFile = Omit<PolicyRules, 'audit'> & { readonly audit?: boolean | object }

/** Why a process cannot have its own policy. */
export function missingPolicies(): Missing {
  const wanting = missingRoot() ?? missingCommands('unshare', 'setpriv')
  if (wanting !== undefined) return wanting
  const [command, ...args] = [...withPolicyFolder('/etc/hostname'), 'true']
  return spawnSync(command!, args).status === 0 ? undefined : 'no file system can be mounted here'
}
