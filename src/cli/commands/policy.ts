import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { POLICY_FILE, readDraft, readPolicy } from '../../policy.ts'
import { type Command, Failure, UsageError } from '../command.ts'
import { adviceOnAudit, describeRules, policyJson, spellPolicy, whyNotObeyed } from '../policy-words.ts'

const MISSING_AUDIT =
  'The file of the audit is not on this machine. While it is missing, nothing is offered or stored.'

/**
 * `--json`: `{ "path": "/etc/ticketkeep/policy.json", "state": "in force", "problem": null, "rules": { "disable": true } }`.
 * `state` is `absent`, `in force` or `wrong`, and `problem` says why it is wrong. `rules` has the fields that are set.
 */
export const command: Command = {
  usage: 'policy check [FILE] [--json]',
  help: `
Explains what the administrator's policy sets for all users of this machine, or what is wrong with it.
If it is wrong, ticketkeep is disabled for all users. No user can override it.

With FILE, checks a draft, whatever its owner and mode.

The policy of this machine is ${POLICY_FILE}.

Exit status 1 if it is wrong.`,
  operands: [1, 2],
  completes: ['check'],
  run({ operands: [verb, file] }) {
    if (verb !== 'check')
      throw new UsageError(`there is no "policy ${verb}"; usage: ticketkeep ${command.usage}`)
    if (file !== undefined && !existsSync(file))
      throw new Failure(`${file} does not exist; give the path of a policy`)
    const policy = file === undefined ? readPolicy() : readDraft(resolve(file))
    const { path, state, rules } = policy
    const notObeyed = file === undefined ? whyNotObeyed(policy) : undefined
    const advice = adviceOnAudit(policy)
    return {
      json: notObeyed === undefined ? policyJson(policy) : { ...policyJson(policy), problem: notObeyed },
      text:
        state === 'absent'
          ? [`There is no policy (${path}).`]
          : state === 'wrong'
            ? [`${spellPolicy(policy)}.`, '', 'ticketkeep is disabled for everybody while it is in place.']
            : [
                `${path} is right. It decides:`,
                '',
                ...describeRules(rules),
                ...(notObeyed ? ['', `Nothing is offered or stored: ${notObeyed}.`] : []),
                ...(advice ? ['', ...(notObeyed ? [] : [MISSING_AUDIT]), advice] : []),
              ],
      exitCode: state === 'wrong' || notObeyed !== undefined ? 1 : 0,
    }
  },
}
