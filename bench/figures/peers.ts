import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { findCommand, missingCommands } from '../../test/support/missing.ts'
import type { TlsVersion } from '../../test/support/nginx.ts'
import { environment } from '../../test/support/run-program.ts'
import type { Figure } from '../bench.ts'
import { missingLink, startLink } from '../link.ts'
import { interleave, ratios } from '../paired.ts'
import { Place, type Run, urlOf } from '../place.ts'
import { median, type Row, row, timeToFirstByte } from '../results.ts'

const RTT = 20

export const peers: Figure = {
  name: 'peers',
  title: `What others gain by resumption, at ${RTT} ms`,
  missing: () => missingCommands('nginx', 'openssl') ?? missingLink(),
  async run({ few: rounds }) {
    const rows: Row[] = []
    const place = await Place.make()
    try {
      const link = await startLink(RTT)
      place.atEnd(() => link.close())
      const nginx = await place.nginx('rsa', {
        address: link.address,
        names: [link.address],
        prefix: link.inside,
      })
      for (const version of ['TLSv1.2', 'TLSv1.3'] as TlsVersion[]) {
        const openssl = opensslWays(place, `${link.address}:${nginx.ports[version]}`, version)
        const theirs = await interleave(openssl, rounds)
        rows.push(row(`openssl s_client, ${version}, -sess_in`, 'wall time', theirs.without, theirs.resumed))

        const run = (cache: boolean): Run => ({
          line: '24',
          program: 'twice.cjs',
          env: { URL: urlOf(nginx, version, link.address), ...(cache && { CACHE: '1' }) },
        })
        const costs = await interleave(
          { without: place.way(place.job(run(false)), '.'), resumed: place.way(place.job(run(true)), 'r') },
          rounds,
        )
        const [base, cached] = [costs.without, costs.resumed].map((all) => all.map(timeToFirstByte))
        rows.push({
          what: `Node 24's own cache in one process, ${version}, second request`,
          measure: 'first byte',
          without: `${median(base!).toFixed(1)} ms`,
          with: `${median(cached!).toFixed(1)} ms`,
          kind: 'ratio',
          value: ratios(cached!, base!),
          runs: rounds,
        })
      }
    } finally {
      await place.end()
    }
    return { rows, notes: [curl()] }
  },
}

function opensslWays(place: Place, to: string, version: TlsVersion) {
  const { sandbox } = place
  const session = join(sandbox.directory, `openssl-${version}`)
  const flags = version === 'TLSv1.2' ? ['-tls1_2'] : ['-tls1_3']
  const request = sandbox.write('request', 'GET / HTTP/1.0\r\n\r\n')
  const job = (more: string) => ({
    argv: [
      'sh',
      '-c',
      `openssl s_client -connect ${to} -CAfile ${place.caFile} ${flags} -ign_eof -quiet ${more} < ${request}`,
    ],
    env: environment({ sandbox, preload: false }),
    cwd: sandbox.directory,
  })
  spawnSync('sh', ['-c', job(`-sess_out ${session}`).argv[2]!], { stdio: 'ignore' })
  return { without: place.way(job('')), resumed: place.way(job(`-sess_in ${session}`)) }
}

/** curl keeps sessions across runs since 8.12, where it is built with `--enable-ssls-export`. */
function curl(): string {
  if (findCommand('curl') === undefined) return 'curl is not installed.'
  const { status, stderr } = spawnSync('curl', ['--ssl-sessions', '/dev/null', '--version'], {
    encoding: 'utf8',
  })
  const version = spawnSync('curl', ['--version'], { encoding: 'utf8' }).stdout.split(' ')[1]
  return status === 0
    ? `curl ${version} here knows --ssl-sessions; it was not measured.`
    : `curl ${version} here cannot keep sessions across runs (${stderr.split('\n')[0]}).`
}
