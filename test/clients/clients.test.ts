import { afterAll, expect, it } from 'vitest'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import type { TlsVersion } from '../support/nginx.ts'
import { runCell, Site } from './cell.ts'
import type { Route } from './client.ts'
import { CLIENTS } from './clients.ts'
import { explain, isResumed } from './explained.ts'
import { renderPage } from './page.ts'
import { SERVERS } from './servers.ts'

// A few cells of the matrix that need no package. `npm run test:clients` runs all of them.

const CELLS: [client: string, server: string, version: TlsVersion, route: Route][] = [
  ['https.get', 'nginx', 'TLSv1.2', 'direct'],
  ['https.get', 'HAProxy', 'TLSv1.3', 'direct'],
  ['http2.connect', 'nginx', 'TLSv1.3', 'direct'],
  ['tls.connect', 'OpenSSL', 'TLSv1.2', 'direct'],
  ['https.get and NODE_USE_ENV_PROXY', 'nginx', 'TLSv1.3', 'connect'],
  ['https.get and NODE_USE_ENV_PROXY', 'nginx', 'TLSv1.2', 'secure'],
]

describeWith(
  [missingCommands('nginx', 'haproxy', 'openssl'), missingNode('20'), missingNode('24')],
  'cells of the matrix',
  () => {
    const site = new Site()
    afterAll(() => site.close())

    const run = (
      client: string,
      server: string,
      version: TlsVersion,
      route: Route,
      node: '20' | '24' = '24',
    ) => {
      const find = <T extends { name: string }>(all: readonly T[], name: string) =>
        all.find((one) => one.name === name)!
      return runCell(
        { client: find(CLIENTS, client), server: find(SERVERS, server), version, route, node },
        site,
      )
    }

    it.each(CELLS)('%s resumes: %s, %s, %s', async (...cell) => {
      const result = await run(...cell)
      expect(result).toMatchObject({ connections: 1, resumed: 1, reasons: [] })
      expect(result.fault).toBeUndefined()
      expect(renderPage([result])).toContain(`| ${result.client} |`)
    })

    it('the page has the reason for a cell that does not resume', async () => {
      const result = await run('node:worker_threads', 'nginx', 'TLSv1.3', 'direct', '20')
      expect([result.fault, isResumed(result)]).toEqual([undefined, false])
      const why = explain(result)
      expect(why).toContain('worker thread')
      expect(renderPage([result])).toContain(`1. ${why}`)
      expect(explain({ ...result, reasons: ['another one'] })).toBeUndefined()
    })
  },
)
