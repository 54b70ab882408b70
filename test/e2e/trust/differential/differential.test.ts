import { writeFileSync } from 'node:fs'
import { it } from 'vitest'
import { runPairs } from './pairs.ts'
import { SERVERS } from './servers.ts'
import { WAYS_TO_ACCEPT } from './ways-to-accept.ts'
import { WAYS_TO_REFUSE } from './ways-to-refuse.ts'

it('tries', async () => {
  const started = Date.now()
  const r = await runPairs({
    nodes: (process.env.N ?? '20').split(',') as any,
    versions: (process.env.V ?? 'TLSv1.3').split(',') as any,
    accepting: WAYS_TO_ACCEPT,
    refusing: WAYS_TO_REFUSE,
    servers: (process.env.S?.split(',') ?? SERVERS) as any,
    inOneProcess: process.env.ONE === '1',
  })
  console.log('ms', Date.now() - started, r.accepted.length, r.refused.length, r.inOneProcess.length)
  writeFileSync(
    process.env.OUT ?? '/tmp/r.json',
    JSON.stringify(r, (k, v) => (k === 'way' || k === 'accepting' || k === 'refusing' ? v.name : v), 1),
  )
}, 3_600_000)
