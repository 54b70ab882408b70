import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findCommand } from './missing.ts'
import { startNginx } from './nginx.ts'
import type { Identity } from './pki.ts'
import { freePort, waitForPort } from './ports.ts'

/** A TLS 1.3 server on this machine that answers requests. */
export interface GroupServer {
  readonly port: number
  stop(): Promise<void>
}

type Start = (identity: Identity, group: string) => Promise<GroupServer>

/** Servers that allow a single group, by the command that each needs. The group has OpenSSL's name. */
export const GROUP_SERVERS: Readonly<Record<'nginx' | 'haproxy' | 'openssl' | 'caddy', Start>> = {
  async nginx(identity, groups) {
    const nginx = await startNginx({ ...identity, groups })
    return { port: nginx.ports['TLSv1.3'], stop: () => nginx.stop() }
  },
  haproxy: (identity, group) =>
    launch('haproxy', identity, (folder, port) => {
      writeFileSync(
        join(folder, 'haproxy.cfg'),
        `
defaults
  mode http
  timeout connect 10s
  timeout client 10s
  timeout server 10s
frontend tls
  bind 127.0.0.1:${port} ssl crt ${folder}/both.pem curves ${group} ssl-min-ver TLSv1.3
  http-request return status 200 content-type text/plain string hello
`,
      )
      return ['-db', '-f', join(folder, 'haproxy.cfg')]
    }),
  openssl: (identity, group) => startOpenssl(identity, group),
  /** Groups by their names in Go. */
  caddy: (identity, group) =>
    launch('caddy', identity, (folder, port) => {
      const curve = { 'P-256': 'secp256r1', 'P-384': 'secp384r1' }[group]
      writeFileSync(
        join(folder, 'Caddyfile'),
        `
{
  admin off
  auto_https off
  storage file_system ${folder}/storage
}
https://localhost:${port} {
  bind 127.0.0.1
  tls ${folder}/both.pem ${folder}/key.pem {
    curves ${curve}
    protocols tls1.3
  }
  respond "hello"
}
`,
      )
      return ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')]
    }),
}

/** @param args further arguments of `openssl s_server` */
export const startOpenssl = (
  identity: Identity,
  group: string,
  args: readonly string[] = [],
): Promise<GroupServer> =>
  launch('openssl', identity, (folder, port) => {
    const files = ['-cert', join(folder, 'both.pem'), '-key', join(folder, 'key.pem')]
    return ['s_server', '-accept', `127.0.0.1:${port}`, ...files, '-groups', group, '-www', ...args]
  })

async function launch(
  command: string,
  { cert, key }: Identity,
  configure: (folder: string, port: number) => string[],
): Promise<GroupServer> {
  const folder = mkdtempSync(join(tmpdir(), `ticketkeep-${command}-`))
  const port = await freePort()
  writeFileSync(join(folder, 'both.pem'), cert + key, { mode: 0o600 })
  writeFileSync(join(folder, 'key.pem'), key, { mode: 0o600 })
  const server = spawn(findCommand(command) ?? command, configure(folder, port), {
    stdio: ['ignore', 'ignore', 'ignore'],
    env: { PATH: process.env.PATH, HOME: folder },
  })
  const ended = new Promise((done) => server.once('exit', done).once('error', done))
  const stop = async () => {
    server.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  if (await Promise.race([waitForPort(port), ended.then(() => false)])) return { port, stop }
  await stop()
  throw new Error(`${command} did not start`)
}
