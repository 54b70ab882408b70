import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { unixNow } from '../../common/clock.ts'
import { diagnoseKeys, type KeyDiagnosis } from '../../keys/diagnose.ts'
import { precompiledFile } from '../../runtime/bundles.ts'
import { cipherInForce } from '../../seal/box.ts'
import { poolUrl, readSettings } from '../../settings.ts'
import { storeDirectory } from '../../store/private-directory.ts'
import { whyProcessIsLeftAlone } from '../../tls/process-admission.ts'
import { readProcessStart } from '../../tls/process-start.ts'
import type { Command } from '../command.ts'
import { describeFailing, failingServers } from '../failing-servers.ts'
import { openStore } from '../open-store.ts'
import { describeRules, policyJson, spellPolicy, whyNotObeyed } from '../policy-words.ts'
import { packagePreload } from '../preload-path.ts'
import type { Block } from '../render.ts'
import { inspectActivity, inspectDirectory, spellDirectory } from '../surroundings.ts'

/**
 * `--json`: `{ "keeping": true, "disabled": false, "active": true, "preload": "/…/preload.cjs",
 * "key": { "chosen": "keychain", "kept": true, "sources": [{ "source": "variable", "state": "not set",
 * "usable": false, "chosen": false, "reason": "…", "advice": ["…"] }] },
 * "directory": { "path": "/…", "exists": true, "mode": "0700", "owner": 1000, "problem": null },
 * "node": { "version": "24.21.0", "openssl": "3.5.8", "leftAlone": null, "precompiled": true },
 * "cipher": "xsalsa20-poly1305", "clientCertificates": false, "failingServers": [],
 * "policy": { "path": "/…", "state": "absent", "problem": null, "rules": {} },
 * "pool": { "reachable": true, "words": "…" } }`, the servers as in `list`. `pool` is null if none is set.
 *
 * `key.kept`: the chosen source gives a key or could hold one. `leftAlone`: why no connection of a Node that is started
 * like this one is attended, as a phrase. `cipher`: the one in force, which FIPS mode can change.
 */
export const command: Command = {
  usage: 'doctor [--json]',
  help: `
Checks everything that decides whether tickets are kept: every source of the key in the order in which
they are asked, the directory, and Node. Says what does not work, why, and what to do about it. Changes
nothing, and opens no prompt.

Exit status 0 if a program with the preload would keep tickets, 1 if not.`,
  operands: [0, 0],
  async run() {
    const examined = await examine()
    const { settings, key, directory, activity, keeping, node, cipher, failing } = examined
    const { disabled, clientCertificates } = settings
    const { active, preload } = activity
    return {
      json: {
        ...{ keeping, disabled, active, preload, key, directory, node, cipher, clientCertificates },
        failingServers: failing,
        policy: policyJson(settings.policy),
        pool: examined.pool,
      },
      text: [...describe(examined), ...describeFailing(failing, unixNow())],
      exitCode: keeping ? 0 : 1,
    }
  },
}

type Examined = Awaited<ReturnType<typeof examine>>

async function examine() {
  const settings = readSettings()
  const key = await diagnoseKeys(settings.key)
  const directory = inspectDirectory(storeDirectory(settings.directory))
  const cipher = cipherInForce(settings.cipher)
  const activity = inspectActivity(settings.disabledBy)
  // A source that gives no key is not asked again: a command may take ten seconds each time.
  const { store } = key.kept ? await openStore() : { store: undefined }
  const failing = failingServers(store?.failures.list(unixNow()) ?? [])
  const pool =
    poolUrl() === undefined ? null : await (await import('../examine-pool.ts')).examinePool(settings)
  const node = {
    version: process.versions.node,
    openssl: process.versions.openssl,
    leftAlone: whyProcessIsLeftAlone(readProcessStart(process.env)) ?? null,
    precompiled: isPrecompiled(),
  }
  const notObeyed = whyNotObeyed(settings.policy)
  const keeping =
    !settings.disabled &&
    notObeyed === undefined &&
    key.kept &&
    directory.problem === null &&
    node.leftAlone === null
  return { settings, key, directory, activity, keeping, node, cipher, failing, notObeyed, pool }
}

/** Measured in bench/results.md. */
const COMPILED_ADVICE = 'none; "ticketkeep precompile" saves each program that connects some milliseconds'

function isPrecompiled(): boolean {
  const preload = packagePreload()
  return preload !== undefined && existsSync(precompiledFile(join(dirname(preload), 'attendant.cjs')))
}

function describe(examined: Examined): Block[] {
  const { key, directory, activity, keeping, node, pool } = examined
  const { policy } = examined.settings
  return [
    {
      pairs: [
        ['tickets kept', keeping ? 'yes' : `no: ${whyNot(examined)}`],
        ['switched on', activity.words],
        [
          'directory',
          `${spellDirectory(directory)}${directory.problem === null ? '' : ` - ${directory.problem}`}`,
        ],
        ['Node', `${node.version}, OpenSSL ${node.openssl}${node.leftAlone ? `: ${node.leftAlone}` : ''}`],
        ['compiled code', node.precompiled ? 'kept for this Node' : COMPILED_ADVICE],
        ['policy', spellPolicy(policy)],
        ...(pool ? [['pool', pool.words] as const] : []),
      ],
    },
    ...(policy.state === 'in force' ? ['', 'The policy decides:', '', ...describeRules(policy.rules)] : []),
    '',
    'Sources of the key, in the order in which they are asked:',
    '',
    { table: [['', 'source', 'usable', 'why'], ...key.sources.map(row)] },
    ...advice(key, examined.settings.key.source),
    '',
    connection(examined),
    ...(examined.settings.clientCertificates ? ['', CLIENT_CERTIFICATE_ADVICE] : []),
  ]
}

const CLIENT_CERTIFICATE_ADVICE = `Sessions made with a client certificate are stored too (TICKETKEEP_CLIENT_CERT). Some servers turn down
a request on such a resumed connection; "ticketkeep probe URL --cert FILE --key FILE" says whether yours does.`

function whyNot({ settings, key, directory, node, notObeyed }: Examined): string {
  if (settings.disabledBy !== undefined) return settings.disabledBy
  if (notObeyed !== undefined) return notObeyed
  if (!key.kept && key.chosen === 'memory' && settings.key.source === 'auto') return 'no source gives a key'
  if (!key.kept) return `${key.chosen} gives no key`
  return node.leftAlone ?? `${directory.problem}`
}

function row({ source, state, usable, chosen, reason }: KeyDiagnosis['sources'][number]): string[] {
  return [
    chosen ? '->' : '  ',
    source,
    usable ? 'yes' : 'no',
    state === 'unavailable' ? `cannot be asked: ${reason}` : reason,
  ]
}

/** Advice on the source that programs use. If nobody has set a source, advice on all of them. */
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
    lines.push(['  any other', `Unset the source ${chosen}: while it is set, no source after it is asked.`])
  }
  if (lines.length === 0) return []
  return ['', kept ? 'Advice:' : 'What to do, one of these:', '', { table: lines }]
}

function connection({ keeping, settings, directory, cipher }: Examined): string {
  if (!keeping)
    return 'TLS connections work as they do without ticketkeep, and resume only sessions of their own process.'
  const reuse = settings.reuse ? ', and offered more than once (TICKETKEEP_REUSE)' : ''
  return `A TLS connection takes a ticket of its server from ${directory.path},
and leaves new ones there, encrypted with ${cipher}${reuse}.`
}
