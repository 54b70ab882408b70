import { unixNow } from '../../common/clock.ts'
import { whyNotCreated } from '../../keys/creation-note.ts'
import { usage } from '../../store/bounds.ts'
import { asUser } from '../as-user.ts'
import { type Command, UsageError } from '../command.ts'
import { type OpenStore, openStore } from '../open-store.ts'
import { policyJson, spellPolicy, whyNotObeyed } from '../policy-words.ts'
import { type Block, bytes, count } from '../render.ts'
import { inspectActivity, inspectDirectory, spellDirectory } from '../surroundings.ts'

/**
 * `--json`: `{ "keeping": true, "disabled": false, "active": true, "preload": "/…/preload.cjs",
 * "directory": { "path": "/…", "exists": true, "mode": "0700", "owner": 1000, "problem": null },
 * "files": 12, "bytes": 49152, "tickets": 11, "hosts": 5,
 * "key": { "source": "keychain", "available": true, "creatable": false, "reason": "…" },
 * "policy": { "path": "/…", "state": "absent", "problem": null, "rules": {} } }`
 *
 * `keeping`: whether a program with the preload would keep tickets. `active`: whether Node programs started
 * from this environment load the preload. `files` counts the ticket files of every key, `tickets` and `hosts`
 * what our key opens; null without the key. `mode` and `owner` are null if the system has none. `policy` is as in
 * `ticketkeep policy check`.
 */
export const command: Command = {
  usage: 'status [--user NAME | --prometheus] [--json]',
  help: `
Says whether tickets are kept, where, how many, and with which key. Also says whether Node programs
started from this shell use ticketkeep. If something is wrong, "ticketkeep doctor" says more.`,
  options: {
    user: {
      type: 'string',
      value: 'NAME',
      about: 'for root: the status of another user, without that user’s variables',
    },
    prometheus: {
      type: 'boolean',
      about:
        'figures for the textfile collector of node_exporter; for root: of all users together. Programs count only if the policy has "metrics": true',
    },
  },
  operands: [0, 0],
  async run({ options: { user, prometheus }, json }) {
    if (prometheus) {
      if (user !== undefined) throw new UsageError('--prometheus and --user exclude each other')
      const { figures } = await import('../prometheus.ts')
      return figures(json)
    }
    if (user !== undefined) {
      const report = await asUser(`${user}`, ['status'], json)
      return { ...report, text: [...report.text, '', NOT_A_LOGIN] }
    }
    const opened = await openStore()
    const status = examine(opened)
    return { json: status, text: describe(status, opened) }
  },
}

const NOT_A_LOGIN = `This is what a process of that user’s sees without a login. It has none of the variables that a login
sets, and reaches no keychain and no kernel keyring. Programs of the user may keep tickets all the same,
and whether they load ticketkeep is not known.`

type Status = ReturnType<typeof examine>

function examine({ settings, directory, outcome, store }: OpenStore) {
  const listed = store?.list(unixNow())
  const { files, bytes } = directory === undefined ? { files: 0, bytes: 0 } : usage(directory)
  const place = inspectDirectory(directory)
  const { active, preload } = inspectActivity(settings.disabledBy)
  const failure = outcome.creatable ? whyNotCreated(settings.key, outcome.source) : undefined
  const hasKey = store !== undefined || (outcome.creatable && !failure && directory !== undefined)
  return {
    keeping:
      !settings.disabled && whyNotObeyed(settings.policy) === undefined && hasKey && place.problem === null,
    disabled: settings.disabled,
    active,
    preload,
    directory: place,
    files,
    bytes,
    tickets: listed ? listed.length : null,
    hosts: listed ? new Set(listed.map(({ peer }) => peer.host)).size : null,
    key: {
      source: outcome.source,
      available: store !== undefined,
      creatable: outcome.creatable,
      reason: failure ? `${outcome.reason}, and making one failed: ${failure.reason}` : outcome.reason,
    },
    policy: policyJson(settings.policy),
  }
}

function describe(status: Status, { settings, outcome }: OpenStore): Block[] {
  const { directory, key } = status
  const notObeyed = whyNotObeyed(settings.policy)
  const blocks: Block[] = [
    {
      pairs: [
        ['tickets kept', status.keeping ? 'yes' : 'no'],
        ['switched on', inspectActivity(settings.disabledBy).words],
        ['directory', spellDirectory(directory)],
        ['tickets', holdings(status)],
        ['key', `${key.source}: ${key.reason}`],
        ['policy', spellPolicy(settings.policy)],
      ],
    },
  ]
  if (settings.disabledBy !== undefined)
    blocks.push('', `Nothing is offered or stored: ${settings.disabledBy}.`)
  else if (notObeyed !== undefined) blocks.push('', `Nothing is offered or stored: ${notObeyed}.`)
  else if (directory.problem !== null) blocks.push('', `Nothing is kept: ${directory.problem}.`)
  else if (!status.keeping) blocks.push('', ...withoutKey(settings.key.source, outcome))
  return blocks
}

function holdings({ files, bytes: size, tickets, hosts }: Status): string {
  if (files === 0) return 'none'
  const all = `${count(files, 'file')}, ${bytes(size)}`
  return tickets === null || hosts === null
    ? `${all}; nothing is known of them without the key`
    : `${count(tickets, 'ticket')} of ${count(hosts, 'host')}, in ${all}`
}

function withoutKey(wanted: string, { source, creatable, considered }: OpenStore['outcome']): Block[] {
  if (creatable)
    return ['Nothing is kept on disk before there is a key. "ticketkeep init" tries again to make one.']
  const asked = { table: considered.map(({ source, state, reason }) => [`  ${source}`, state, reason]) }
  if (wanted !== 'auto' && wanted !== 'memory') {
    return [
      'Nothing is kept on disk, because the one source that is asked gave no key:',
      asked,
      `Fix that, or unset TICKETKEEP_KEY_SOURCE, so that the others are asked as well.`,
      '"ticketkeep doctor" says what each source would need.',
    ]
  }
  if (source !== 'memory') {
    return [
      `Nothing is kept on disk, because the source "${source}" is set and gave no key:`,
      asked,
      'Fix that, or unset it, so that the sources after it are asked.',
      '"ticketkeep doctor" says what each source would need.',
    ]
  }
  return [
    'Nothing is kept on disk, because no source gave a key:',
    asked,
    'Unlock or start a keychain, or make a key file: ticketkeep init --key-file',
    '"ticketkeep doctor" says what each source would need.',
  ]
}
