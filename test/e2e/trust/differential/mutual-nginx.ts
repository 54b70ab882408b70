import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findCommand, type Missing, missingCommands } from '../../../support/missing.ts'
import type { TlsVersion } from '../../../support/nginx.ts'
import { freePort, waitForPort } from '../../../support/ports.ts'

// nginx gives a resumed connection a new ticket, which servers of Node do not.

export interface MutualNginx {
  readonly port: number
  stop(): Promise<void>
}

export const missingNginx = (): Missing => missingCommands('nginx')

/** Asks clients for a certificate, does without one, and greets each by its name, or as nobody. */
export async function startMutualNginx(given: {
  cert: string
  key: string
  clientCa: string
  version?: TlsVersion
}): Promise<MutualNginx> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-nginx-'))
  const port = await freePort()
  mkdirSync(join(folder, 'tmp'))
  writeFileSync(join(folder, 'cert.pem'), given.cert)
  writeFileSync(join(folder, 'key.pem'), given.key, { mode: 0o600 })
  writeFileSync(join(folder, 'clients.pem'), given.clientCa)
  writeFileSync(join(folder, 'nginx.conf'), configuration(port, given.version ?? 'TLSv1.3'))
  const nginx = spawn(
    findCommand('nginx') ?? 'nginx',
    ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log'],
    {
      stdio: 'ignore',
    },
  )
  const ended = new Promise((done) => nginx.once('exit', done).once('error', done))
  await waitForPort(port)
  return {
    port,
    async stop() {
      nginx.kill('SIGTERM')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const configuration = (port: number, version: TlsVersion) => `
daemon off;
pid nginx.pid;
worker_processes 1;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 512; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path tmp/${kind};`).join('\n  ')}
  ssl_certificate cert.pem;
  ssl_certificate_key key.pem;
  ssl_protocols ${version};
  ssl_session_cache none;
  ssl_session_timeout 1h;
  ssl_client_certificate clients.pem;
  ssl_verify_client optional;
  map $ssl_client_s_dn $who { default nobody; ~CN=(?<name>.+)$ $name; }
  server {
    listen 127.0.0.1:${port} ssl;
    location / { default_type text/plain; return 200 "hello $who\\n"; }
  }
}
`
