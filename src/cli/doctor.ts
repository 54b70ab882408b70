import { diagnoseKeys, type KeyDiagnosis } from '../keys/diagnose.ts'
import { readSettings, type Settings } from '../settings.ts'
import { storeDirectory } from '../store/private-directory.ts'
import { describeDefaultCa } from '../tls/default-trust.ts'
import { sessionForm } from '../tls/session.ts'
import type { Command } from './command.ts'
import type { Block } from './render.ts'
import {
  type Activity,
  inspectActivity,
  inspectDirectory,
  type Place,
  spellDirectory,
} from './surroundings.ts'

/**
 * `--json`: `{ "keeping": true, "disabled": false, "active": true, "preload": "/…/preload.cjs",
 * "key": { "chosen": "keychain", "kept": true, "sources": [{ "source": "variable", "state": "not set",
 * "usable": false, "chosen": false, "reason": "…", "advice": ["…"] }] },
 * "directory": { "path": "/…", "exists": true, "mode": "0700", "owner": 1000, "problem": null },
 * "node": { "version": "20.20.2", "openssl": "3.0.17", "sessionForm": "raw", "defaultTrust": true },
 * "cipher": "xsalsa20-poly1305" }`
 *
 * `key.kept`: the chosen source gives a key or could hold one. `defaultTrust`: what Node trusts by default can
 * be told, so that connections without a `ca` of their own can resume.
 */
export const command: Command = {
  usage: 'doctor [--json]',
  help: `
Looks at everything that decides whether tickets are kept: every source of the key in the order in
which they are asked, the directory, Node. Says what does not work, why, and what to do about it.
Changes nothing, and opens no prompt.

Exit status 0 if a program with the preload would keep tickets, 1 if not.`,
  operands: [0, 0],
  async run() {
    const settings = readSettings()
    const key = await diagnoseKeys(settings.key)
    const directory = inspectDirectory(storeDirectory(settings.directory))
    const { disabled, cipher } = settings
    const activity = inspectActivity(disabled)
    const keeping = !disabled && key.kept && directory.problem === null
    const node = {
      version: process.versions.node,
      openssl: process.versions.openssl,
      sessionForm: sessionForm(),
      defaultTrust:
        describeDefaultCa({ execArgv: process.execArgv, env: process.env, isLate: false }, 0) !== undefined,
    }
    const { active, preload } = activity
    const examined: Examined = { settings, key, directory, activity, keeping, node }
    return {
      json: { keeping, disabled, active, preload, key, directory, node, cipher },
      text: describe(examined),
      exitCode: keeping ? 0 : 1,
    }
  },
}

interface Examined {
  readonly settings: Settings
  readonly key: KeyDiagnosis
  readonly directory: Place
  readonly activity: Activity
  readonly keeping: boolean
  readonly node: {
    readonly version: string
    readonly openssl: string
    readonly sessionForm: string
    readonly defaultTrust: boolean
  }
}

function describe(examined: Examined): Block[] {
  const { key, directory, activity, keeping, node } = examined
  return [
    {
      pairs: [
        ['tickets kept', keeping ? 'yes' : `no: ${whyNot(examined)}`],
        ['switched on', activity.words],
        [
          'directory',
          `${spellDirectory(directory)}${directory.problem === null ? '' : ` - ${directory.problem}`}`,
        ],
        ['Node', `${node.version}, OpenSSL ${node.openssl}, takes sessions in the ${node.sessionForm} form`],
      ],
    },
    '',
    'Sources of the key, in the order in which they are asked:',
    '',
    { table: [['', 'source', 'usable', 'why'], ...key.sources.map(row)] },
    ...advice(key, examined.settings.key.source),
    '',
    connection(examined),
  ]
}

function whyNot({ settings, key, directory }: Examined): string {
  if (settings.disabled) return 'disabled by the environment'
  if (!key.kept && key.chosen === 'memory' && settings.key.source === 'auto') return 'no source gives a key'
  if (!key.kept) return `${key.chosen} gives no key`
  return `${directory.problem}`
}

function row({ source, state, usable, chosen, reason }: KeyDiagnosis['sources'][number]): string[] {
  return [
    chosen ? '->' : '  ',
    source,
    usable ? 'yes' : 'no',
    state === 'unavailable' ? `cannot be asked: ${reason}` : reason,
  ]
}

/** On the source at which programs stop. Where nobody has set one, on all of them. */
function advice({ kept, chosen, sources }: KeyDiagnosis, asked: string): Block[] {
  const lines = sources
    .filter((one) => one.chosen || chosen === 'memory')
    .flatMap((one) => one.advice.map((sentence) => [`  ${one.source}`, sentence]))
  if (!kept && asked !== 'auto') {
    lines.push([
      '  any other',
      `Unset TICKETKEEP_KEY_SOURCE (${asked}): it is the only source that is asked.`,
    ])
  } else if (!kept && chosen !== 'memory') {
    lines.push(['  any other', `Take back what sets ${chosen}: no source after it is asked while it is set.`])
  }
  if (lines.length === 0) return []
  return ['', kept ? 'A word of advice:' : 'What to do, one of these:', '', { table: lines }]
}

function connection({ keeping, settings, node, directory }: Examined): string {
  if (!keeping)
    return 'A TLS connection is made as without ticketkeep, and resumes only what its own process has seen.'
  const trust = node.defaultTrust
    ? ''
    : `\nConnections that name no CA are left alone: what this Node trusts by default (the system's store)
cannot be told cheaply. NODE_EXTRA_CA_CERTS instead of that store can.`
  const reuse = settings.reuse ? ', and offered more than once (TICKETKEEP_REUSE)' : ''
  return `A TLS connection takes a ticket of its server from ${directory.path},
and leaves new ones there, sealed with ${settings.cipher}${reuse}.${trust}`
}
