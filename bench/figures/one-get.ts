import { missingCommands } from '../../test/support/missing.ts'
import type { TlsVersion } from '../../test/support/nginx.ts'
import type { Figure } from '../bench.ts'
import { INSTALLED, PRECOMPILED } from '../packages.ts'
import { interleave } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { type Cell, type Row, row } from '../results.ts'

interface Case {
  readonly line: Run['line']
  readonly version: TlsVersion
  /** With the program's own `ca` instead of `NODE_EXTRA_CA_CERTS`. */
  readonly explicitCa?: boolean
}

/**
 * With TLS 1.3 each ticket resumes once and the connection brings the next. TLS 1.2 saves a round trip, which costs
 * nothing on loopback.
 */
export const oneGet: Figure = {
  name: 'one-get',
  title: 'One https.get of a later run, on loopback',
  missing: () => missingCommands('nginx'),
  async run({ short, nodes }) {
    const rounds = Math.ceil(short * 0.5)
    const cases: Case[] = [
      ...nodes.map((line): Case => ({ line, version: 'TLSv1.3' })),
      { line: '24', version: 'TLSv1.2' },
      { line: '24', version: 'TLSv1.3', explicitCa: true },
    ]
    const rows: Row[] = []
    const cells: Cell[] = []
    for (const one of cases) {
      const made = await Place.with((place) => compare(place, one, rounds))
      rows.push(...made)
      const { line, version, explicitCa } = one
      if (line !== '24' || explicitCa) continue
      cells.push({ line: 'loopback', column: nameOf(version), ratio: made[0]!.value.median })
    }
    return { rows, cells }
  },
}

async function compare(place: Place, { line, version, explicitCa }: Case, rounds: number): Promise<Row[]> {
  const nginx = await place.nginx('rsa')
  const trust = explicitCa ? { NODE_EXTRA_CA_CERTS: undefined, CA: place.caFile } : {}
  const run: Run = { line, program: 'get.cjs', env: { URL: urlOf(nginx, version), ...trust } }
  const { without, ...ours } = await interleave(
    {
      without: place.way(place.job(run), '.'),
      installed: await place.warm({ ...run, preload: INSTALLED }),
      precompiled: await place.warm({ ...run, preload: PRECOMPILED }),
    },
    rounds,
  )
  return Object.entries(ours).flatMap(([name, costs]) => {
    const marks = [explicitCa && 'the CA in an option `ca`', name === 'precompiled' && name].filter(Boolean)
    const what = [`Node ${line}`, nameOf(version), ...marks].join(', ')
    return [
      row(what, 'wall time', without, costs),
      row(what, 'CPU', without, costs),
      row(what, 'memory', without, costs),
    ]
  })
}

export const nameOf = (version: TlsVersion) => version.replace('v', ' ')
