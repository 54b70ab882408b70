import { startNginx } from '../support/nginx.ts'
import { freePort } from '../support/ports.ts'
import { createFolder, daemon, run } from './daemon.ts'
import { NODE_SERVERS } from './node-servers.ts'
import type { Server } from './server.ts'

const HELLO = 'hello\n'

export const SERVERS: readonly Server[] = [
  {
    name: 'nginx',
    speaks: ['https', 'h2', 'registry'],
    needs: ['nginx', 'nginx-light'],
    async start({ version, identity, upstream }) {
      const nginx = await startNginx({ ...identity, ...(upstream && { upstream }) })
      const logged = async () => {
        const resumed = (await nginx.requests()).filter(({ reused }) => reused === 'r')
        return new Set(resumed.map(({ connection }) => connection)).size
      }
      return { port: nginx.ports[version], stop: nginx.stop, logged }
    },
  },
  {
    name: 'HAProxy',
    speaks: ['https', 'h2', 'registry'],
    needs: ['haproxy', 'haproxy'],
    async start({ version, identity, upstream }) {
      const files = createFolder(identity)
      const answer = upstream
        ? `http-request set-header X-Forwarded-Proto https
  default_backend up
backend up
  server up ${new URL(upstream).host}`
        : 'http-request return status 200 content-type text/plain string "hello\\n"'
      const port = await freePort()
      files.write(
        'haproxy.cfg',
        `global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "resumed=%[ssl_fc_is_resumed] connection=%cp"
  timeout connect 10s
  timeout client 30s
  timeout server 30s
frontend tls
  bind 127.0.0.1:${port} ssl crt ${files.both} alpn h2,http/1.1 ssl-min-ver ${version} ssl-max-ver ${version}
  ${answer}
`,
      )
      const haproxy = await daemon(files, port, ['haproxy', '-db', '-f', files.path('haproxy.cfg')])
      const logged = async () =>
        new Set([...haproxy.output().matchAll(/resumed=1 connection=(\d+)/g)].map(([, port]) => port)).size
      return { ...haproxy, logged }
    },
  },
  {
    name: 'Caddy',
    speaks: ['https', 'h2', 'registry'],
    needs: ['caddy', 'caddy'],
    async start({ version, identity, upstream }) {
      const files = createFolder(identity)
      const port = await freePort()
      const protocol = version === 'TLSv1.2' ? 'tls1.2' : 'tls1.3'
      files.write(
        'Caddyfile',
        `{
  admin off
  auto_https disable_redirects
  storage file_system ${files.folder}
}
https://localhost:${port} {
  tls ${files.cert} ${files.key} {
    protocols ${protocol} ${protocol}
  }
  ${upstream ? `reverse_proxy ${new URL(upstream).host}` : 'respond "hello\n"'}
}
`,
      )
      const command = ['caddy', 'run', '--adapter', 'caddyfile', '--config', files.path('Caddyfile')]
      return daemon(files, port, command, { env: { HOME: files.folder } })
    },
  },
  {
    name: 'OpenSSL',
    speaks: ['https'],
    needs: ['openssl', 'openssl'],
    async start({ version, identity }) {
      const files = createFolder(identity)
      files.write('hello.txt', HELLO)
      const port = await freePort()
      const flag = version === 'TLSv1.2' ? '-tls1_2' : '-tls1_3'
      const command = ['openssl', 's_server', '-quiet', '-WWW', flag, '-accept', `127.0.0.1:${port}`]
      return daemon(files, port, [...command, '-cert', files.cert, '-key', files.key])
    },
  },
  ...NODE_SERVERS,
  {
    name: 'PostgreSQL',
    speaks: ['postgres'],
    needs: ['/usr/lib/postgresql/15/bin/postgres', 'postgresql'],
    async start({ version, identity }) {
      const files = createFolder(identity, 'postgres')
      const [port, data] = [await freePort(), files.path('data')]
      const program = (name: string) => `/usr/lib/postgresql/15/bin/${name}`
      run([program('initdb'), '-D', data, '-U', 'test', '-A', 'trust', '--no-sync'], files.user)
      const settings = {
        port,
        listen_addresses: '127.0.0.1',
        unix_socket_directories: files.folder,
        fsync: 'off',
        ssl: 'on',
        ssl_cert_file: files.cert,
        ssl_key_file: files.key,
        ssl_min_protocol_version: version,
        ssl_max_protocol_version: version,
      }
      const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
      return daemon(files, port, [program('postgres'), '-D', data, ...flags])
    },
  },
  {
    name: 'MariaDB',
    speaks: ['mysql'],
    needs: ['mariadbd', 'mariadb-server'],
    async start({ version, identity }) {
      const files = createFolder(identity)
      const [port, data] = [await freePort(), files.path('data')]
      const user = process.getuid?.() === 0 ? ['--user=root'] : []
      run(['mariadb-install-db', '--no-defaults', ...user, `--datadir=${data}`, '--skip-test-db'])
      files.write('init.sql', `CREATE USER test@localhost;`)
      return daemon(files, port, [
        ...['mariadbd', '--no-defaults', ...user, `--datadir=${data}`, `--socket=${files.path('socket')}`],
        ...[`--port=${port}`, '--bind-address=127.0.0.1', `--init-file=${files.path('init.sql')}`],
        ...[`--ssl-cert=${files.cert}`, `--ssl-key=${files.key}`, `--tls-version=${version}`],
        `--pid-file=${files.path('pid')}`,
      ])
    },
  },
  {
    name: 'Redis',
    speaks: ['redis'],
    needs: ['redis-server', 'redis-server'],
    async start({ version, identity }) {
      const files = createFolder(identity)
      const port = await freePort()
      return daemon(files, port, [
        ...['redis-server', '--port', '0', '--tls-port', `${port}`, '--save', '', '--dir', files.folder],
        ...['--tls-cert-file', files.cert, '--tls-key-file', files.key, '--tls-ca-cert-file', files.cert],
        ...['--tls-auth-clients', 'no', '--tls-protocols', version],
      ])
    },
  },
  {
    name: 'Mosquitto',
    speaks: ['mqtt'],
    needs: ['mosquitto', 'mosquitto'],
    async start({ version, identity }) {
      const files = createFolder(identity)
      const port = await freePort()
      const user = process.getuid?.() === 0 ? 'user root' : ''
      files.write(
        'mosquitto.conf',
        `listener ${port} 127.0.0.1\nallow_anonymous true\n${user}\ncertfile ${files.cert}\nkeyfile ${files.key}\n`,
      )
      // Mosquitto can set only the lowest version.
      const bounds = `MinProtocol = ${version}\nMaxProtocol = ${version}\n`
      files.write(
        'openssl.cnf',
        `openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n${bounds}`,
      )
      const env = { OPENSSL_CONF: files.path('openssl.cnf') }
      return daemon(files, port, ['mosquitto', '-c', files.path('mosquitto.conf')], { env })
    },
  },
  {
    name: 'OpenLDAP',
    speaks: ['ldap'],
    needs: ['slapd', 'slapd'],
    async start({ version, identity }) {
      const files = createFolder(identity)
      const port = await freePort()
      // Debian builds it with GnuTLS.
      files.write(
        'slapd.conf',
        `TLSCertificateFile ${files.cert}
TLSCertificateKeyFile ${files.key}
TLSCipherSuite NORMAL:-VERS-ALL:+VERS-TLS${version.slice('TLSv'.length)}
pidfile ${files.path('pid')}
`,
      )
      const url = `ldaps://127.0.0.1:${port}`
      return daemon(files, port, ['slapd', '-h', url, '-f', files.path('slapd.conf'), '-d', '0'])
    },
  },
]
