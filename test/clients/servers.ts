import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNginx, type TlsVersion } from '../support/nginx.ts'
import { folderOf, nodeBinary } from '../support/pinned.ts'
import type { Identity } from '../support/pki.ts'
import { freePort } from '../support/ports.ts'
import { createFolder, daemon, type Running, run } from './daemon.ts'

/** What is spoken over TLS. `https` servers answer each request with `hello`; `registry` is HTTPS to a registry of packages. */
export type Protocol =
  | 'https'
  | 'h2'
  | 'registry'
  | 'websocket'
  | 'grpc'
  | 'postgres'
  | 'mysql'
  | 'redis'
  | 'mqtt'
  | 'smtp'
  | 'ldap'
  | 'mongodb'

export interface Server {
  readonly name: string
  readonly speaks: readonly Protocol[]
  /** Where the real server cannot be had. */
  readonly standIn?: true
  /** The command that it needs, and its Debian package. */
  readonly needs?: readonly [command: string, debianPackage: string]
  start(setup: Setup): Promise<Running>
}

export interface Setup {
  readonly version: TlsVersion
  readonly identity: Pick<Identity, 'cert' | 'key'>
  /** What to pass requests on to, `http://host:port`, in the place of an answer. */
  readonly upstream?: string | undefined
}

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
  nodeServer('Node', ['https', 'h2'], {}, [
    `import { createSecureServer } from 'node:http2'`,
    `createSecureServer({ cert, key, allowHTTP1: true }, (_, response) => response.end('hello\\n')).listen(port, '127.0.0.1')`,
  ]),
  nodeServer('ws', ['websocket'], {}, [
    `import { createServer } from 'node:https'`,
    `import { WebSocketServer } from 'ws'`,
    `const server = createServer({ cert, key }).listen(port, '127.0.0.1')`,
    `new WebSocketServer({ server }).on('connection', (socket) => socket.send('hello'))`,
  ]),
  nodeServer('grpc-js', ['grpc'], {}, [
    `import { Server, ServerCredentials } from '@grpc/grpc-js'`,
    `const same = (bytes) => bytes`,
    `const shape = { path: '/test/echo', requestStream: false, responseStream: false, requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same }`,
    `const server = new Server()`,
    `server.addService({ echo: shape }, { echo: ({ request }, done) => done(null, request) })`,
    `const credentials = ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }])`,
    `server.bindAsync('127.0.0.1:' + port, credentials, (error) => { if (error) throw error })`,
  ]),
  nodeServer('smtp-server', ['smtp'], {}, [
    `import { SMTPServer } from 'smtp-server'`,
    `const onData = (stream, session, done) => stream.resume().on('end', () => done(null, 'taken'))`,
    `new SMTPServer({ cert, key, authOptional: true, onData, logger: false }).listen(port, '127.0.0.1')`,
  ]),
  nodeServer('a stand-in', ['mongodb'], { standIn: true }, [
    `import { createServer } from 'node:tls'`,
    `import { createRequire } from 'node:module'`,
    `const { BSON } = createRequire(import.meta.url)('mongodb')`,
    `const answer = { ok: 1, isWritablePrimary: true, helloOk: true, maxBsonObjectSize: 16777216, maxMessageSizeBytes: 48000000,`,
    `  maxWriteBatchSize: 100000, minWireVersion: 0, maxWireVersion: 21, localTime: new Date(0) }`,
    `createServer({ cert, key }, (socket) => {`,
    `  let waiting = Buffer.alloc(0)`,
    `  socket.on('error', () => {}).on('data', (bytes) => {`,
    `    waiting = Buffer.concat([waiting, bytes])`,
    `    while (waiting.length >= 16 && waiting.length >= waiting.readInt32LE(0)) {`,
    `      const request = waiting.subarray(0, waiting.readInt32LE(0))`,
    `      waiting = waiting.subarray(request.length)`,
    `      const [id, opcode] = [request.readInt32LE(4), request.readInt32LE(12)]`,
    `      const body = BSON.serialize(answer)`,
    `      // An answer to OP_QUERY is an OP_REPLY, one to OP_MSG an OP_MSG.`,
    `      const head = opcode === 2004 ? Buffer.alloc(36) : Buffer.alloc(21)`,
    `      head.writeInt32LE(head.length + body.length, 0)`,
    `      head.writeInt32LE(id, 8)`,
    `      head.writeInt32LE(opcode === 2004 ? 1 : 2013, 12)`,
    `      if (opcode === 2004) head.writeInt32LE(1, 32)`,
    `      socket.write(Buffer.concat([head, body]))`,
    `    }`,
    `  })`,
    `}).listen(port, '127.0.0.1')`,
  ]),
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
      // Mosquitto has a setting for the lowest version alone.
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
      // Debian's is built with GnuTLS.
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

/** A server that is a program of Node's, with packages of the pinned libraries. `source` has `cert`, `key` and `port`. */
function nodeServer(
  name: string,
  speaks: readonly Protocol[],
  more: Pick<Server, 'standIn'>,
  source: readonly string[],
): Server {
  return {
    name,
    speaks,
    ...more,
    async start({ version, identity }) {
      const files = createFolder(identity)
      const port = await freePort()
      const script = join(folderOf('libraries'), `server-${port}.mjs`)
      const given = `const { cert, key, port } = ${JSON.stringify({ ...identity, port })}`
      mkdirSync(folderOf('libraries'), { recursive: true })
      writeFileSync(script, [given, ...source].join('\n'), { mode: 0o600 })
      const flags = [`--tls-min-${version.slice(3)}`, `--tls-max-${version.slice(3)}`]
      const server = await daemon(files, port, [nodeBinary('24'), ...flags, script])
      rmSync(script)
      return server
    },
  }
}
