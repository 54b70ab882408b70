import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { missingCommands } from '../../test/support/missing.ts'
import type { TlsVersion } from '../../test/support/nginx.ts'
import type { Figure } from '../bench.ts'
import { spread } from '../paired.ts'
import { Place } from '../place.ts'
import { median, type Row } from '../results.ts'

const SECONDS = 1

/** `openssl s_time` is the client; what one core of nginx can do is told by its worker's own CPU time. */
export const server: Figure = {
  name: 'server',
  title: "The server's side: connections with one request that one nginx core serves in a second",
  missing: () =>
    missingCommands('nginx', 'openssl') ??
    (process.platform === 'linux' ? undefined : 'there is no /proc to read'),
  async run({ install: rounds }) {
    const rows: Row[] = []
    for (const keyType of ['rsa', 'ecdsa'] as const) {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const place = await Place.make()
        try {
          const nginx = await place.nginx(keyType)
          const worker = workerOf(nginx.pid)
          const rate = async (kind: 'new' | 'reuse') => {
            await nginx.requests()
            const before = cpuSeconds(worker)
            await clients(nginx.ports[version], version, kind)
            const spent = cpuSeconds(worker) - before
            const wanted = (await nginx.requests()).filter(
              ({ reused }) => (reused === 'r') === (kind === 'reuse'),
            )
            return wanted.length / spent
          }
          const full: number[] = []
          const resumed: number[] = []
          for (let round = 0; round < rounds; round++) {
            if (round % 2 === 0) full.push(await rate('new'))
            resumed.push(await rate('reuse'))
            if (round % 2 !== 0) full.push(await rate('new'))
          }
          rows.push({
            what: `${version}, ${keyType.toUpperCase()}`,
            measure: 'connections a second of CPU',
            without: `${Math.round(median(full))} full`,
            with: `${Math.round(median(resumed))} resumed`,
            kind: 'ratio',
            value: spread(resumed.map((many, round) => many / full[round]!)),
            runs: rounds,
          })
        } finally {
          await place.end()
        }
      }
    }
    return { rows }
  },
}

async function clients(port: number, version: TlsVersion, kind: 'new' | 'reuse') {
  const flag = version === 'TLSv1.2' ? ['-tls1_2'] : ['-tls1_3']
  const args = ['s_time', '-connect', `localhost:${port}`, `-${kind}`, '-www', '/', ...flag]
  const all: ChildProcess[] = Array.from({ length: Math.max(1, availableParallelism() - 1) }, () =>
    spawn('openssl', [...args, '-time', String(SECONDS)], { stdio: 'ignore' }),
  )
  await Promise.all(all.map((client) => once(client, 'exit')))
}

const TICKS = () => Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/** User and system time of a process (proc(5), stat). */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS()
}

const workerOf = (pid: number) =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')[0])
