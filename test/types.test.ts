import { Agent, Pool } from 'undici'
import { expect, it } from 'vitest'
import { ticketConnector } from '../src/index.ts'

// `npm run check` compiles this: what a program in TypeScript writes, under `strict`.

it('ticketConnector is a connector to undici', async () => {
  const agent = new Agent({ connect: ticketConnector({ allowH2: true }) })
  const pool = new Pool('https://registry.example', { connect: ticketConnector() })
  await Promise.all([agent.close(), pool.close()])
  expect([agent.closed, pool.closed]).toEqual([true, true])
})
