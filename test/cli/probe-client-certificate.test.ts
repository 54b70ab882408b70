import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startHaproxy } from '../support/haproxy.ts'
import { describeWith, missingCommands } from '../support/missing.ts'
import type { TlsVersion } from '../support/nginx.ts'
import { type Authority, createAuthority, type Identity } from '../support/pki.ts'
import { listen } from '../support/ports.ts'
import { cleanEnv, scratchDirectory, start, useInstalled } from './kit.ts'

const VERSIONS: TlsVersion[] = ['TLSv1.2', 'TLSv1.3']

const installed = useInstalled()
let authority: Authority
let identity: Identity
let files: { ca: string; cert: string; key: string; otherKey: string }
const stopping: (() => unknown)[] = []

beforeAll(async () => {
  authority = await createAuthority()
  identity = await authority.issue()
  const client = await authority.issue({ names: ['client'], client: true })
  const folder = scratchDirectory()
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  files = {
    ca: write('ca.pem', authority.cert),
    cert: write('client.pem', client.cert),
    key: write('client.key', client.key),
    otherKey: write('other.key', identity.key),
  }
})
afterAll(() => Promise.all(stopping.map((stop) => stop())))

const probe = (...args: string[]) =>
  start(installed, ['probe', ...args], cleanEnv({ NODE_EXTRA_CA_CERTS: files.ca })).ended

const withCertificate = (...args: string[]) => probe('--cert', files.cert, '--key', files.key, ...args)

/** A server of one version of TLS that answers with `statusOf`. */
async function serve(version: TlsVersion, statusOf: (socket: TLSSocket, url: string) => number | 'break') {
  const { cert, key } = identity
  const options = { cert, key, ca: authority.cert, minVersion: version, maxVersion: version }
  const server = createServer(
    { ...options, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const status = statusOf(request.socket as TLSSocket, request.url ?? '')
      if (status === 'break') request.socket.destroy()
      else response.writeHead(status).end()
    },
  )
  const port = await listen(server)
  stopping.push(() => server.close())
  return port
}

async function answers(...args: string[]) {
  const { stdout, stderr } = await withCertificate('--count', '1', '--json', ...args)
  expect(stderr).toBe('')
  return JSON.parse(stdout).answers
}

describeWith(missingCommands('haproxy'), 'HAProxy with a rule about client certificates', () => {
  it.each(VERSIONS)('%s: probe finds that ssl_fc_has_crt rejects a resumed connection', async (version) => {
    const haproxy = await startHaproxy({ ...identity, clientCa: authority.cert, admits: 'ssl_fc_has_crt' })
    stopping.push(haproxy.stop)
    const url = `localhost:${haproxy.ports[version]}`
    expect(await answers(url)).toEqual({ full: 200, resumed: 403 })
    const { code, stdout } = await withCertificate('--count', '1', url)
    expect(code).toBe(0)
    expect(stdout).toContain(
      `With the client certificate the server answers 200 on a full connection and 403 on a resumed one:
do not set TICKETKEEP_CLIENT_CERT for programs that use it.`,
    )
  })

  it.each(VERSIONS)('%s: probe finds that ssl_c_used admits a resumed connection', async (version) => {
    const haproxy = await startHaproxy({ ...identity, clientCa: authority.cert, admits: 'ssl_c_used' })
    stopping.push(haproxy.stop)
    const url = `localhost:${haproxy.ports[version]}`
    expect(await answers(url)).toEqual({ full: 200, resumed: 200 })
    expect((await withCertificate('--count', '1', url)).stdout).toContain(
      'With the client certificate the server answers 200, on a full connection and on a resumed one.',
    )
  })
})

describe.each(VERSIONS)('ticketkeep probe with a client certificate, over %s', (version) => {
  it('requests the path of the URL', async () => {
    const asked: string[] = []
    const port = await serve(version, (_, url) => {
      asked.push(url)
      return 204
    })
    expect(await answers(`https://localhost:${port}/a/b?c`)).toEqual({ full: 204, resumed: 204 })
    expect(asked).toEqual(['/a/b?c', '/a/b?c'])
  })

  it('says that the server breaks the resumed connection', async () => {
    const port = await serve(version, (socket) => (socket.isSessionReused() ? 'break' : 200))
    expect(await answers(`localhost:${port}`)).toEqual({ full: 200, resumed: 'ECONNRESET' })
    expect((await withCertificate('--count', '1', `localhost:${port}`)).stdout).toContain(
      'answers 200 on a full connection and breaks a resumed one (ECONNRESET)',
    )
  })

  it('sends no request without a client certificate', async () => {
    const asked: string[] = []
    const port = await serve(version, (_, url) => asked.push(url))
    const { stdout } = await probe('--count', '1', '--json', `localhost:${port}`)
    expect(JSON.parse(stdout).answers).toBeNull()
    expect(asked).toEqual([])
  })
})

describe('ticketkeep probe refuses', () => {
  it.each(['cert', 'key'] as const)('--%s alone', async (option) => {
    expect(await probe('a.example', `--${option}`, files[option])).toMatchObject({
      code: 2,
      stderr: 'ticketkeep: --cert and --key belong together\n',
    })
  })

  it('a missing file', async () => {
    const { code, stderr } = await probe('a.example', '--cert', '/nowhere.pem', '--key', files.key)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ticketkeep: cannot read \/nowhere\.pem: ENOENT/)
  })

  it('a key of another certificate', async () => {
    const { code, stderr } = await probe('a.example', '--cert', files.cert, '--key', files.otherKey)
    expect(code).toBe(1)
    expect(stderr).toMatch(/are not a certificate and its key, in PEM and without a passphrase$/m)
  })
})
