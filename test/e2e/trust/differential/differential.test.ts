import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { missingNode } from '../../../support/missing.ts'
import { NODE_LINES } from '../../../support/pinned.ts'
import { CACHE } from '../../../support/places.ts'
import { type Result, runPairs } from './pairs.ts'
import { SERVERS } from './servers.ts'
import { render, tally, tallyInOneProcess, toJson } from './table.ts'
import { WAYS_TO_ACCEPT } from './ways-to-accept.ts'
import { WAYS_TO_REFUSE } from './ways-to-refuse.ts'

// These tests start thousands of processes, so they run only on request. `TICKETKEEP_TRUST=full` runs every pair on four Nodes,
// over both versions, in two processes and in one, and prints the table. `TICKETKEEP_TRUST=brief` runs a part of that.

const isAsked = Boolean(process.env.TICKETKEEP_TRUST)
const isFull = process.env.TICKETKEEP_TRUST === 'full'
const HOUR = 3_600_000

const present = NODE_LINES.filter((line) => missingNode(line) === undefined)
const own = process.versions.node.split('.')[0]
/** The line that runs the tests and another one: the oldest, or the one with the most new functions. */
const two = present.filter((line) => line === own || line === (own === '20' ? '24' : '20'))

describe.skipIf(!isAsked || present.length === 0)('a program that refuses a server', () => {
  let result: Result
  beforeAll(async () => {
    result = await runPairs({
      nodes: isFull ? present : two,
      versions: isFull ? ['TLSv1.3', 'TLSv1.2'] : ['TLSv1.3'],
      servers: SERVERS,
      accepting: WAYS_TO_ACCEPT,
      refusing: WAYS_TO_REFUSE,
      isBrief: !isFull,
    })
    mkdirSync(CACHE, { recursive: true })
    writeFileSync(join(CACHE, 'trust-pairs.json'), toJson(result))
    const bad = tally(result).through.length + tallyInOneProcess(result).through.length
    if (isFull || bad > 0) console.log(render(result))
  }, 3 * HOUR)

  it('also refuses it with the tickets of a program that accepts it', () => {
    expect(tally(result).through).toEqual([])
  })

  it('also refuses it in the same process as a connection that accepts it', () => {
    expect(tallyInOneProcess(result).through).toEqual([])
  })

  it('is tested in at least 40 ways, each after at least 60 ways to accept the server', () => {
    const { waysToAccept, waysToRefuse } = tally(result)
    expect(waysToAccept).toBeGreaterThanOrEqual(60)
    expect(waysToRefuse).toBeGreaterThanOrEqual(40)
  })
})
