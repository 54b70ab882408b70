import { type HostPort, hostPort, peerOf } from '../host-port.ts'
import { UsageError } from './command.ts'

/** Reads `HOST`, `HOST:PORT` or `[IPv6 address]:PORT`. @throws {UsageError} */
export function readServer(text: string): { host: string; port: number | undefined } {
  const match = /^(?:\[(?<address>[^\]]*)\]|(?<name>[^:[\]]*))(?::(?<port>\d{1,5}))?$/.exec(text)
  try {
    if (!match) return { host: peerOf(text, 0).host, port: undefined }
    const host = match.groups?.address ?? match.groups?.name ?? ''
    const port = match.groups?.port
    if (port === undefined) return { host: peerOf(host, 0).host, port: undefined }
    const peer: HostPort = hostPort(host, Number(port))
    return peer
  } catch {
    throw new UsageError(`"${text}" is not a server; give HOST, HOST:PORT or [IPv6 address]:PORT`)
  }
}
