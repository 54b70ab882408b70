import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findCommand } from './missing.ts'
import type { Identity } from './pki.ts'
import { freePort, waitFor, waitForPort } from './ports.ts'

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3'

export interface NginxOptions extends Pick<Identity, 'cert' | 'key'> {
  /** Session tickets. Default on, as in nginx. */
  readonly tickets?: boolean
  /** Files of 80 bytes: the key of new tickets, then those of older tickets, which are renewed. Default: a random key. */
  readonly ticketKeys?: readonly string[]
  /** Asks clients for a certificate of this CA (PEM). */
  readonly clientCa?: string
  /** Passes every request on to this origin, `http://host:port`. Default: it answers `hello` itself. */
  readonly upstream?: string
  /** The address to listen on. Default 127.0.0.1. */
  readonly address?: string
  /** Default: two free ports of 127.0.0.1. */
  readonly ports?: Nginx['ports']
  /** The groups of the key exchange, by OpenSSL's names. Default: those of OpenSSL. */
  readonly groups?: string
  /** Put in front of the command, `ip netns exec wan` for one. */
  readonly prefix?: readonly string[]
}

/** One request in the log of nginx. */
export interface LoggedRequest {
  /** `$ssl_session_reused` of nginx: `r` for a resumed connection, `.` for a full handshake. */
  readonly reused: 'r' | '.'
  readonly protocol: TlsVersion
  /** The number of the TCP connection and of the request on it. */
  readonly connection: number
  readonly nth: number
  readonly status: number
  readonly uri: string
}

export interface Nginx {
  /** One port speaks TLS 1.2 only, the other TLS 1.3 only. */
  readonly ports: Readonly<Record<TlsVersion, number>>
  /** The master process. */
  readonly pid: number
  /** The requests since the last call, once there are at least `atLeast`. */
  requests(atLeast?: number): Promise<LoggedRequest[]>
  stop(): Promise<void>
}

/** Debian's nginx, unprivileged if the tests are, with session tickets and a log of resumptions. */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  for (let attempt = 1; ; attempt++) {
    const nginx = await launch(options)
    if (nginx) return nginx
    if (attempt === 3) throw new Error('nginx did not start')
  }
}

async function launch(options: NginxOptions): Promise<Nginx | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-nginx-'))
  const ports = options.ports ?? { 'TLSv1.2': await freePort(), 'TLSv1.3': await freePort() }
  const log = join(folder, 'access.log')
  mkdirSync(join(folder, 'tmp'))
  writeFileSync(join(folder, 'cert.pem'), options.cert)
  writeFileSync(join(folder, 'key.pem'), options.key, { mode: 0o600 })
  if (options.clientCa) writeFileSync(join(folder, 'client-ca.pem'), options.clientCa)
  writeFileSync(join(folder, 'nginx.conf'), configuration(folder, ports, options))

  const [command = 'nginx', ...args] = [...(options.prefix ?? []), findCommand('nginx') ?? 'nginx']
  const nginx = spawn(command, [...args, '-p', folder, '-c', 'nginx.conf', '-e', 'error.log'], {
    stdio: 'ignore',
  })
  const ended = new Promise((done) => nginx.once('exit', done).once('error', done))
  const stop = async () => {
    nginx.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  const up = options.prefix
    ? await waitFor(() => (existsSync(join(folder, 'nginx.pid')) ? true : undefined))
    : await Promise.race([waitForPort(ports['TLSv1.3'], 5000, options.address), ended.then(() => false)])
  if (!up) {
    await stop()
    return undefined
  }

  let seen = 0
  return {
    ports,
    pid: nginx.pid!,
    stop,
    async requests(atLeast = 0) {
      const read = () => readFileSync(log, 'utf8').split('\n').slice(0, -1).slice(seen)
      const lines = (await waitFor(() => (read().length >= atLeast ? read() : undefined), 3000)) ?? read()
      seen += lines.length
      return lines.map((line) => JSON.parse(line) as LoggedRequest)
    },
  }
}

function configuration(folder: string, ports: Nginx['ports'], options: NginxOptions): string {
  const clientCertificates = options.clientCa
    ? 'ssl_client_certificate client-ca.pem; ssl_verify_client on;'
    : ''
  const location = options.upstream
    ? `proxy_pass ${options.upstream}; proxy_http_version 1.1; proxy_set_header Connection "";
       proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto https;`
    : 'default_type text/plain; return 200 "hello\\n";'
  const server = (version: TlsVersion) => `
    server {
      listen ${options.address ?? '127.0.0.1'}:${ports[version]} ssl http2;
      ssl_protocols ${version};
      location / { ${location} }
    }`
  return `
daemon off;
pid nginx.pid;
worker_processes 1;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 512; }
http {
  log_format connections escape=json
    '{"reused":"$ssl_session_reused","protocol":"$ssl_protocol","connection":$connection,'
    '"nth":$connection_requests,"status":$status,"uri":"$request_uri"}';
  access_log access.log connections;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path tmp/${kind};`).join('\n  ')}
  client_max_body_size 64m;
  ssl_certificate ${folder}/cert.pem;
  ssl_certificate_key ${folder}/key.pem;
  ssl_session_cache none;
  ssl_session_tickets ${options.tickets === false ? 'off' : 'on'};
  ${(options.ticketKeys ?? []).map((file) => `ssl_session_ticket_key ${file};`).join(' ')}
  ${clientCertificates}
  ${options.groups ? `ssl_ecdh_curve ${options.groups};` : ''}
  ${server('TLSv1.2')}
  ${server('TLSv1.3')}
}
`
}
