import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findCommand } from './missing.ts'
import type { TlsVersion } from './nginx.ts'
import type { Identity } from './pki.ts'
import { freePort, waitForPort } from './ports.ts'

export interface Haproxy {
  /** One port speaks TLS 1.2 only, the other TLS 1.3 only. */
  readonly ports: Readonly<Record<TlsVersion, number>>
  stop(): Promise<void>
}

export interface HaproxyOptions extends Pick<Identity, 'cert' | 'key'> {
  /** Asks clients for a certificate of this CA (PEM). */
  readonly clientCa: string
  /** The condition under which it answers `200 hello`; otherwise it answers 403. */
  readonly admits: 'ssl_fc_has_crt' | 'ssl_c_used'
}

/** Debian's HAProxy, which asks its clients for a certificate and checks it for each request. */
export async function startHaproxy(options: HaproxyOptions): Promise<Haproxy> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-haproxy-'))
  const ports = { 'TLSv1.2': await freePort(), 'TLSv1.3': await freePort() }
  writeFileSync(join(folder, 'server.pem'), options.cert + options.key, { mode: 0o600 })
  writeFileSync(join(folder, 'client-ca.pem'), options.clientCa)
  writeFileSync(join(folder, 'haproxy.cfg'), configuration(folder, ports, options.admits))
  const haproxy = spawn(findCommand('haproxy') ?? 'haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], {
    stdio: 'ignore',
  })
  const ended = new Promise((done) => haproxy.once('exit', done).once('error', done))
  const stop = async () => {
    haproxy.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  const isUp = await Promise.race([waitForPort(ports['TLSv1.3']), ended.then(() => false)])
  if (isUp) return { ports, stop }
  await stop()
  throw new Error('haproxy did not start')
}

const configuration = (folder: string, ports: Haproxy['ports'], admits: HaproxyOptions['admits']) => `
defaults
  mode http
  timeout connect 10s
  timeout client 10s
  timeout server 10s
frontend tls
${Object.entries(ports)
  .map(
    ([version, port]) =>
      `  bind 127.0.0.1:${port} ssl crt ${folder}/server.pem ca-file ${folder}/client-ca.pem verify optional ssl-min-ver ${version} ssl-max-ver ${version}`,
  )
  .join('\n')}
  http-request deny deny_status 403 unless { ${admits} }
  http-request return status 200 content-type text/plain string hello
`
