import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import tls, { type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import type { Admission } from '../../src/tls/admission.ts'
import type { Call } from '../../src/tls/call.ts'
import { unwrapSession } from '../../src/tls/session.ts'
import { rootsOf } from '../../src/tls/trusted-roots.ts'
import {
  isInForce,
  type Trust,
  trustOfFullHandshake,
  trustOfResumption,
} from '../../src/tls/verified-handshake.ts'
import { createAuthority } from '../support/pki.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

const DAY = 86_400
const now = Math.floor(Date.now() / 1000)
const der = (pem: string) => new Uint8Array(new X509Certificate(pem).raw)
const servers: TlsServer[] = []
const sockets: TLSSocket[] = []
let ca: string
let otherCa: string
let chain: Uint8Array[]
const issuers = () => chain.slice(1)
let port: number
let soonPort: number

beforeAll(async () => {
  const root = await createAuthority()
  const middle = await root.intermediate()
  const identity = await middle.issue({ names: ['a.test'] })
  const soon = await root.issue({ names: ['a.test'], notAfter: new Date((now + 3600) * 1000) })
  ca = root.cert
  otherCa = (await createAuthority()).cert
  chain = [der(identity.cert), der(middle.cert), der(root.cert)]
  for (const one of [identity, soon]) servers.push(await startTlsServer({ ...one }))
  ;[port, soonPort] = servers.map((server) => server.port) as [number, number]
})
afterAll(async () => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers) await server.close()
})

async function connect(to = port, session?: Buffer): Promise<{ socket: TLSSocket; session: Buffer }> {
  const options = { host: '127.0.0.1', port: to, servername: 'a.test', ca, ...(session && { session }) }
  const socket = tls.connect(options)
  sockets.push(socket)
  const got = once(socket, 'session')
  await once(socket, 'secureConnect')
  return { socket, session: session ?? ((await got)[0] as Buffer) }
}

const call = (isIntact = true) => ({ context: { isIntact: () => isIntact } }) as unknown as Call
const admission = (roots = ca) =>
  ({ binding: 'b', trusted: rootsOf([roots]), partial: false }) as unknown as Admission

describe('the trust of a full handshake', () => {
  it('has the chain that was shown, the binding of the call and the present time', async () => {
    const { socket } = await connect()
    for (const one of [call(), {} as Call]) {
      const trust = trustOfFullHandshake(socket, one, admission(), now) as Trust
      expect(trust).toMatchObject({ certificate: chain[0], binding: 'b', verifiedAt: now })
      expect(trust.issuers?.()).toEqual(chain.slice(1))
    }
  })

  it('ends after a day or with the first certificate of the chain to expire', async () => {
    const { socket } = await connect(soonPort)
    expect(trustOfFullHandshake(socket, call(), admission(), now)).toMatchObject({
      verifiedAt: now + 3600 - DAY,
    })
  })

  it('does not exist if the context was changed', async () => {
    const { socket } = await connect()
    expect(trustOfFullHandshake(socket, call(false), admission(), now)).toContain(
      'changed during the handshake',
    )
  })

  it('does not exist if the chain leads to no certificate that the call trusts', async () => {
    const { socket } = await connect()
    expect(trustOfFullHandshake(socket, call(), admission(otherCa), now)).toContain('no path of signatures')
  })

  it('is none where a certificate of the chain is new, which is said', async () => {
    const { socket } = await connect()
    const start = Math.max(...chain.map((one) => Date.parse(new X509Certificate(one).validFrom))) / 1000
    expect(trustOfFullHandshake(socket, call(), admission(), start + 59)).toBe(
      'a certificate of its chain has been valid for less than a minute',
    )
    expect(trustOfFullHandshake(socket, call(), admission(), start + 61)).toMatchObject({ binding: 'b' })
  })

  it('is none where the server sent no certificate', () => {
    for (const shown of [{}, null, undefined]) {
      const socket = { getCertificate: () => ({}), getPeerCertificate: () => shown } as unknown as TLSSocket
      expect(trustOfFullHandshake(socket, call(), admission(), now)).toContain('sent no certificate')
    }
  })

  it('does not exist if the chain is endless', () => {
    const [one, other] = [0, 1].map((i) => ({ raw: Buffer.from(chain[i]!), issuerCertificate: {} }))
    Object.assign(one!, { issuerCertificate: other })
    Object.assign(other!, { issuerCertificate: one })
    const socket = { getCertificate: () => ({}), getPeerCertificate: () => one } as unknown as TLSSocket
    expect(trustOfFullHandshake(socket, call(), admission(), now)).toContain('no path of signatures')
  })
})

describe('the trust of a resumption', () => {
  const ticket = (change: Partial<StoredTicket> = {}): StoredTicket =>
    ({
      certificate: chain[0],
      issuers,
      binding: 'b',
      verifiedAtUnixSecs: now - 99,
      ...change,
    }) as StoredTicket

  it('is that of the session that was offered', async () => {
    const { session } = await connect()
    const { socket } = await connect(port, session)
    expect(socket.isSessionReused()).toBe(true)
    const offered = unwrapSession(session)
    const trust = {
      ...{ certificate: chain[0], issuers, binding: 'b', verifiedAt: now - 99 },
      clientCertificate: false,
    }
    expect(trustOfResumption(socket, ticket(), offered, socket.getSession)).toEqual(trust)
  })

  it('does not exist if another session or none is in force', async () => {
    const [first, second] = [await connect(), await connect()]
    const { socket } = await connect(port, first.session)
    const reason = 'the session in force is not the one that was offered'
    expect(trustOfResumption(socket, ticket(), unwrapSession(second.session), socket.getSession)).toBe(reason)
    expect(isInForce(socket, unwrapSession(first.session), socket.getSession)).toBe(true)
    const without = { getSession: () => undefined } as unknown as TLSSocket
    expect(trustOfResumption(without, ticket(), unwrapSession(second.session), without.getSession)).toBe(
      reason,
    )
  })

  it('does not exist if the ticket lacks information', async () => {
    const { session } = await connect()
    const { socket } = await connect(port, session)
    const offered = unwrapSession(session)
    const { certificate: _c, ...withoutCertificate } = ticket()
    const { binding: _b, ...withoutBinding } = ticket()
    const { verifiedAtUnixSecs: _v, ...withoutTime } = ticket()
    for (const one of [undefined, withoutCertificate, withoutBinding, withoutTime]) {
      expect(trustOfResumption(socket, one, offered, socket.getSession)).toContain('unknown origin')
    }
    expect(trustOfResumption(socket, ticket(), undefined, socket.getSession)).toContain('unknown origin')
  })
})
