import { constants } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createAuthority } from '../support/pki.ts'
import { listen } from '../support/ports.ts'
import { startRelay } from '../support/relay.ts'
import { startTlsServer, type TlsServer, type TlsServerOptions } from '../support/tls-server.ts'
import { cleanEnv, scratchDirectory, start, useInstalled } from './kit.ts'

const installed = useInstalled()
let ca: string
let identity: { cert: string; key: string }
let otherNames: { cert: string; key: string }
const closing: { close(): unknown }[] = []

beforeAll(async () => {
  const authority = await createAuthority()
  ca = join(scratchDirectory(), 'ca.pem')
  writeFileSync(ca, authority.cert)
  identity = await authority.issue()
  otherNames = await authority.issue({ names: ['elsewhere.test'] })
})
afterAll(() => Promise.all(closing.map((one) => one.close())))

async function serve(options: Partial<TlsServerOptions>): Promise<TlsServer> {
  const server = await startTlsServer({ ...identity, ...options })
  closing.push(server)
  return server
}

async function probe(target: string, ...args: string[]) {
  const { ended } = start(installed, ['probe', target, ...args], cleanEnv({ NODE_EXTRA_CA_CERTS: ca }))
  return ended
}

async function probeJson(target: string, ...args: string[]) {
  const { code, stdout, stderr } = await probe(target, '--json', ...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

describe('ticketkeep probe', () => {
  it('shows for TLS 1.3 that resuming saves bytes and no round trip', async () => {
    const { port, handshakes } = await serve({ version: 'TLSv1.3' })
    const report = await probeJson(`https://localhost:${port}/path`, '--count', '3')
    expect(report).toMatchObject({
      host: 'localhost',
      port,
      protocol: 'TLSv1.3',
      rounds: 3,
      resumedRounds: 3,
      ticketsPerConnection: 2,
      lifetimeHintSecs: 7200,
      keepable: true,
      roundTripsSaved: 0,
    })
    expect(report.resumed.bytesReceived).toBeLessThan(report.full.bytesReceived)
    // One connection to warm up, then full and resumed ones in turn.
    expect(handshakes.map(({ reused }) => reused)).toEqual([false, false, true, false, true, false, true])
    expect((await probe(`localhost:${port}`)).stdout).toContain('resumption saves none')
  })

  it('shows for TLS 1.2 over a slow link that resuming saves one of two round trips', async () => {
    const { port } = await serve({ version: 'TLSv1.2' })
    const relay = await startRelay(port, 40)
    closing.push(relay)
    const report = await probeJson(`localhost:${relay.port}`, '--count', '2')
    expect(report).toMatchObject({
      protocol: 'TLSv1.2',
      resumedRounds: 2,
      roundTripsSaved: 1,
      keepable: true,
    })
    // The link sets the lower limit of each time. On a busy machine there is no upper one.
    expect(report.full.handshakeMs).toBeGreaterThan(75)
    expect(report.resumed.handshakeMs).toBeGreaterThan(35)
    const { stdout } = await probe(`localhost:${relay.port}`, '--count', '1')
    expect(stdout).toMatch(
      /^A resumed connection saves one of two round trips: here \d+\.\d ms of \d+\.\d ms\.$/m,
    )
    expect(stdout).toMatch(/^ {2}round trips +2 +1 +1$/m)
  })

  it('says that a server issues no tickets', async () => {
    const { SSL_OP_NO_TICKET } = (await import('node:constants')).default
    const { port } = await serve({ version: 'TLSv1.2', secureOptions: SSL_OP_NO_TICKET })
    const report = await probeJson(`localhost:${port}`, '--count', '1')
    expect(report).toMatchObject({ keepable: false, ticketsPerConnection: 0, resumed: null })
    const { stdout } = await probe(`localhost:${port}`, '--count', '1')
    expect(stdout).toContain('This server gives no session tickets, so there is nothing to keep.')
  })

  it('says that a server accepts none of its own tickets', async () => {
    const server = await serve({ version: 'TLSv1.3' })
    const timer = setInterval(() => server.rotateTicketKeys(), 1)
    const report = await probeJson(`localhost:${server.port}`, '--count', '2')
    clearInterval(timer)
    expect(report).toMatchObject({ resumedRounds: 0, resumed: null, roundTripsSaved: null })
  })

  it('fails in one sentence if the certificate is not trusted or is for other names', async () => {
    const { port } = await serve({})
    const { ended } = start(installed, ['probe', `localhost:${port}`], cleanEnv())
    const untrusted = await ended
    expect(untrusted).toMatchObject({ code: 1, stdout: '' })
    expect(untrusted.stderr).toMatch(
      /^ticketkeep: cannot probe localhost:\d+: its certificate is not trusted here .*\n$/,
    )
    const { port: misnamed } = await serve(otherNames)
    const { stderr, code } = await probe(`localhost:${misnamed}`)
    expect({ stderr, code }).toEqual({
      stderr: `ticketkeep: cannot probe localhost:${misnamed}: its certificate is for other names, so its sessions are not kept\n`,
      code: 1,
    })
  })

  it('fails on an untrusted certificate even with NODE_TLS_REJECT_UNAUTHORIZED=0', async () => {
    const { port } = await serve({})
    const env = cleanEnv({ NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' })
    const { code, stderr } = await start(installed, ['probe', `localhost:${port}`], env).ended
    expect(code).toBe(1)
    expect(stderr).toContain('its certificate is not trusted here')
  })

  it('fails if the server requires a client certificate', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const { port } = await serve({ requestCert: true, rejectUnauthorized: true, version })
      expect(await probe(`localhost:${port}`)).toMatchObject({ code: 1, stdout: '' })
    }
  })

  it('says that a server issues no tickets even if it resets connections', async () => {
    const server = createTlsServer(
      { ...identity, maxVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET },
      (socket) => socket.on('error', () => {}),
    )
    server.on('connection', (socket: Socket) => setTimeout(() => socket.resetAndDestroy(), 60))
    const port = await listen(server)
    closing.push(server)
    expect(await probe(`localhost:${port}`, '--count', '1')).toMatchObject({ code: 0, stderr: '' })
  })

  it('fails in one sentence on a port of plain HTTP', async () => {
    const plain = createServer((socket) =>
      socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'),
    )
    const port = await listen(plain)
    closing.push(plain)
    expect((await probe(`localhost:${port}`)).stderr).toBe(
      `ticketkeep: cannot probe localhost:${port}: the server there does not speak TLS; check the port\n`,
    )
  })

  it('fails on a port without a listener or without TLS', async () => {
    const plain = createServer((socket) => socket.on('error', () => {}).end('220 hello\r\n'))
    const port = await listen(plain)
    closing.push(plain)
    expect(await probe(`127.0.0.1:${port}`)).toMatchObject({ code: 1, stdout: '' })
    plain.close()
    expect((await probe(`127.0.0.1:${port}`)).stderr).toBe(
      `ticketkeep: cannot probe 127.0.0.1:${port}: nothing listens there; check the port\n`,
    )
  })

  it.each([
    ['http://a.example', 'is not an address that is reached over TLS'],
    ['https://a.example:0', 'names port 0'],
    ['https://', 'is not a URL'],
    ['https://a b', 'is not a URL'],
  ])('refuses %s', async (url, why) => {
    expect(await probe(url)).toEqual({
      code: 2,
      signal: null,
      stdout: '',
      stderr: `ticketkeep: "${url}" ${why}; give https://HOST[:PORT] or HOST[:PORT]\n`,
    })
  })

  it.each(['0', '101', 'x', '-1', '1.5'])('refuses --count=%s', async (count) => {
    const { code, stderr } = await probe('a.example', `--count=${count}`)
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: `ticketkeep: --count ${count} is not a number from 1 to 100\n`,
    })
  })
})
