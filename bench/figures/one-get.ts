import { IN_SESSION_KEYRING, missingSecretService, startSecretService } from '../../test/support/keychains.ts'
import { missingCommands, missingRoot, runs } from '../../test/support/missing.ts'
import type { TlsVersion } from '../../test/support/nginx.ts'
import type { Counts, Figure } from '../bench.ts'
import { interleave, type Way } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { type Asked, type Row, resumed, row } from '../results.ts'

const FROM_KEYCHAIN = { TICKETKEEP_KEY: '', TICKETKEEP_KEY_SOURCE: 'keychain' }

type Ways = Record<string, { readonly way: Way | undefined; readonly asked?: Asked }>

/** TLS 1.3 resumes once a ticket and brings the next; TLS 1.2 saves a round trip, of which loopback has none. */
export const oneGet: Figure = {
  name: 'one-get',
  title: 'One https.get on loopback: ways to do it over the same without us',
  missing: () => missingCommands('nginx'),
  async run(counts) {
    const notes: string[] = []
    const rows: Row[] = []
    for (const line of counts.nodes) rows.push(...(await oneNode(line, 'TLSv1.3', counts, notes)))
    rows.push(...(await oneNode('24', 'TLSv1.2', { ...counts, local: counts.few }, notes)))
    return { rows, notes: [...new Set(notes)] }
  },
}

async function oneNode(line: Run['line'], version: TlsVersion, { local, few }: Counts, notes: string[]) {
  const place = await Place.make()
  try {
    const nginx = await place.nginx('rsa')
    const run: Run = { line, program: 'get.cjs', env: { URL: urlOf(nginx, version) } }
    const withEnv = (env: Record<string, string>) => place.warm({ ...run, env: { ...run.env, ...env } })
    const without = place.way(place.job(run), '.')
    const asked = (atMost: number) => (version === 'TLSv1.3' ? { asked: { atMost } } : {})
    const ways: Ways = {
      'key in a variable': { way: await withEnv({}), ...asked(1.08) },
      'key in a variable, aes-256-gcm': {
        way: await withEnv({ TICKETKEEP_CIPHER: 'aes-256-gcm' }),
        ...asked(1.05),
      },
      'Secret Service': { way: await secretService(place, run, notes), ...asked(1.1) },
      // These tell little of one Node that they do not of another, and take as long.
      ...(line === '24' && { 'first run': { way: place.cold(run) }, ideal: { way: await place.ideal(run) } }),
      ...(line === '24' &&
        !missingRoot() && {
          'package of another user': { way: await place.warm({ ...run, preload: place.othersPreload() }) },
        }),
    }
    const there = Object.entries(ways).filter(([, { way }]) => way !== undefined)
    const costs = await interleave(
      { without, ...Object.fromEntries(there.map(([name, { way }]) => [name, way!])) } as Record<string, Way>,
      local,
    )
    const base = costs.without!
    const service = costs['Secret Service']
    if (service) {
      notes.push(
        `Node ${line}, ${version}: the key came in time from the Secret Service in ${resumed(service)} runs of ` +
          `${local}; in the others it cost what it did and the handshake was full.`,
      )
    }
    const rows = there.flatMap(([name, { asked }]) => {
      const what = `Node ${line}, ${version}, ${name}`
      const memory = name.startsWith('key in a variable') ? { atMost: 6 } : undefined
      return [
        row(what, 'wall time', base, costs[name]!, asked),
        row(what, 'CPU', base, costs[name]!),
        row(what, 'first byte', base, costs[name]!),
        row(what, 'memory', base, costs[name]!, memory),
      ]
    })
    if (version === 'TLSv1.3') rows.push(...(await kernel(line, version, few, notes)))
    return rows
  } finally {
    await place.end()
  }
}

async function secretService(place: Place, run: Run, notes: string[]): Promise<Way | undefined> {
  const missing = missingSecretService()
  if (missing) {
    notes.push(`No Secret Service: ${missing}.`)
    return undefined
  }
  const bus = await startSecretService()
  place.atEnd(() => bus.close())
  return place.later({ ...run, env: { ...run.env, ...bus.env, ...FROM_KEYCHAIN } })
}

/** In a session keyring of its own, so that base and ours both are. */
async function kernel(line: Run['line'], version: TlsVersion, rounds: number, notes: string[]) {
  const missing =
    missingCommands('keyctl') ?? (runs('keyctl', 'show') ? undefined : 'keyctl is forbidden here')
  if (missing) {
    notes.push(`No kernel keyring: ${missing}.`)
    return []
  }
  const place = await Place.make(IN_SESSION_KEYRING)
  try {
    const nginx = await place.nginx('rsa')
    const run: Run = { line, program: 'get.cjs', env: { URL: urlOf(nginx, version) } }
    const env = { ...run.env, TICKETKEEP_KEY: '', TICKETKEEP_KEY_SOURCE: 'kernel' }
    const ours = await place.warm({ ...run, env: env as Record<string, string> })
    if (!ours) {
      notes.push('No kernel keyring: it does not serve here (in a container, say).')
      return []
    }
    const costs = await interleave({ without: place.way(place.job(run), '.'), ours }, rounds)
    const what = `Node ${line}, ${version}, kernel keyring`
    return [row(what, 'wall time', costs.without, costs.ours), row(what, 'CPU', costs.without, costs.ours)]
  } finally {
    await place.end()
  }
}
