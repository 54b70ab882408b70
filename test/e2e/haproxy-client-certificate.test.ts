import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Haproxy, startHaproxy } from '../support/haproxy.ts'
import { describeWith, missingCommands, missingNode } from '../support/missing.ts'
import type { TlsVersion } from '../support/nginx.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { inSandbox, run } from './trust/kit.ts'

// HAProxy's `ssl_fc_has_crt` is about the handshake, and a resumed handshake has no client certificate. `ssl_c_used` is about
// the session. The README says so of TICKETKEEP_CLIENT_CERT.

const REQUEST = `
  const { cert, key } = input.client
  const request = require('node:https').get(input.url, { ca: input.ca, cert, key, agent: false }, (response) => {
    response.resume().on('end', () => setTimeout(() => report([response.statusCode, resumed]), 30))
  })
  let resumed
  request.on('socket', (socket) => socket.on('secureConnect', () => (resumed = require('node:tls').TLSSocket.prototype.isSessionReused.call(socket))))`

let haproxies: Record<'ssl_fc_has_crt' | 'ssl_c_used', Haproxy>
let input: object

describeWith(missingCommands('haproxy'), 'HAProxy with a rule about client certificates', () => {
  beforeAll(async () => {
    const ca = await createAuthority()
    const client = await ca.issue({ names: ['client'], client: true })
    const identity = { ...(await ca.issue()), clientCa: ca.cert }
    haproxies = {
      ssl_fc_has_crt: await startHaproxy({ ...identity, admits: 'ssl_fc_has_crt' }),
      ssl_c_used: await startHaproxy({ ...identity, admits: 'ssl_c_used' }),
    }
    input = { ca: ca.cert, client }
  })
  afterAll(async () => {
    for (const one of Object.values(haproxies ?? {})) await one.stop()
  })

  for (const line of NODE_LINES) {
    describeWith(missingNode(line), `Node ${line}`, () => {
      /** Status, and whether the connection was resumed, of two processes. */
      const twice = (admits: keyof typeof haproxies, version: TlsVersion, env: Record<string, string>) =>
        inSandbox(async (sandbox) => {
          const url = `https://localhost:${haproxies[admits].ports[version]}/`
          const once = () =>
            run<[number, boolean]>(sandbox, REQUEST, { ...input, url }, { node: nodeBinary(line), env })
          return [await once(), await once()]
        })

      it.each(['TLSv1.2', 'TLSv1.3'] as const)(
        '%s: without TICKETKEEP_CLIENT_CERT both runs are admitted with a full handshake',
        async (version) => {
          const full = [200, false]
          expect(await twice('ssl_fc_has_crt', version, {})).toEqual([full, full])
        },
      )

      it.each(['TLSv1.2', 'TLSv1.3'] as const)(
        '%s: with TICKETKEEP_CLIENT_CERT, ssl_fc_has_crt rejects the second run',
        async (version) => {
          const env = { TICKETKEEP_CLIENT_CERT: '1' }
          expect(await twice('ssl_fc_has_crt', version, env)).toEqual([
            [200, false],
            [403, true],
          ])
        },
      )

      it.each(['TLSv1.2', 'TLSv1.3'] as const)(
        '%s: with TICKETKEEP_CLIENT_CERT, ssl_c_used admits the second run',
        async (version) => {
          const env = { TICKETKEEP_CLIENT_CERT: '1' }
          expect(await twice('ssl_c_used', version, env)).toEqual([
            [200, false],
            [200, true],
          ])
        },
      )
    })
  }
})
