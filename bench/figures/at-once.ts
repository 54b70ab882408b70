import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { missingCommands } from '../../test/support/missing.ts'
import type { Figure } from '../bench.ts'
import type { Job } from '../measure.ts'
import { INSTALLED } from '../packages.ts'
import { Place, urlOf } from '../place.ts'
import { type Row, resumedRow } from '../results.ts'

const PROGRAMS = 40
const ROUNDS = 2

export const atOnce: Figure = {
  name: 'at-once',
  title: `${PROGRAMS} programs at once, each with one connection, after ${PROGRAMS} before them, TLS 1.3`,
  missing: () => missingCommands('nginx'),
  async run({ nodes }) {
    const rows: Row[] = []
    for (const line of nodes) {
      await Place.with(async (place) => {
        const nginx = await place.nginx('rsa')
        const env = { URL: urlOf(nginx, 'TLSv1.3'), TICKETKEEP_DIR: place.store() }
        const job = place.job({ line, program: 'get.cjs', preload: INSTALLED, env })
        await runAtOnce(job)
        let resumed = 0
        for (let round = 0; round < ROUNDS; round++) resumed += await runAtOnce(job)
        rows.push(resumedRow(`Node ${line}`, resumed, ROUNDS * PROGRAMS, ROUNDS, { atLeast: 0.95 }))
      })
    }
    return { rows }
  },
}

/** @returns how many programs resumed */
async function runAtOnce(job: Job): Promise<number> {
  const said = await Promise.all(Array.from({ length: PROGRAMS }, () => outputOf(job)))
  return said.filter((text) => text === 'r').length
}

async function outputOf({ argv: [command = '', ...args], env, cwd }: Job): Promise<string> {
  const child = spawn(command, args, { env, cwd, stdio: ['ignore', 'pipe', 'ignore'] })
  let text = ''
  child.stdout.on('data', (bytes) => {
    text += bytes
  })
  const [status] = await once(child, 'close')
  if (status !== 0) throw new Error(`a program ended with ${status}`)
  return text
}
