import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { connect, type Socket } from 'node:net'
import type { Identity } from './pki.ts'
import { listen } from './ports.ts'

export interface ConnectProxy {
  /** `http://127.0.0.1:port`, or `https://localhost:port` */
  readonly url: string
  /** Every `host:port` that a tunnel was asked for. */
  readonly tunnels: string[]
  close(): Promise<void>
}

/**
 * A plain HTTP proxy that opens tunnels (RFC 9110, section 9.3.6) and does nothing else.
 * @param hosts addresses of names that only the proxy knows
 * @param identity the certificate of a proxy that clients reach over TLS
 */
export async function startConnectProxy(
  hosts: Readonly<Record<string, string>> = {},
  identity?: Pick<Identity, 'cert' | 'key'>,
): Promise<ConnectProxy> {
  const tunnels: string[] = []
  const open = new Set<Socket>()
  const server = identity ? createSecureServer({ cert: identity.cert, key: identity.key }) : createServer()
  server.on('request', (_request, response) => response.writeHead(405).end())
  server.on('connect', (request, client: Socket, head: Buffer) => {
    const authority = request.url ?? ''
    tunnels.push(authority)
    const { hostname, port } = new URL(`http://${authority}`)
    const host = hosts[hostname] ?? hostname.replace(/^\[|\]$/g, '')
    const upstream = connect(Number(port || 80), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      upstream.write(head)
      client.pipe(upstream).pipe(client)
    })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket)
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
  })
  const port = await listen(server)
  return {
    url: identity ? `https://localhost:${port}` : `http://127.0.0.1:${port}`,
    tunnels,
    close() {
      for (const socket of open) socket.destroy()
      return new Promise((done) => server.close(() => done()))
    },
  }
}
