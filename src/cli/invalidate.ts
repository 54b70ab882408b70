import { unixNow } from '../common/clock.ts'
import { type HostPort, hostPort, peerOf } from '../host-port.ts'
import { type Command, Failure, UsageError } from './command.ts'
import { openStore, requireStore } from './open-store.ts'
import { count } from './render.ts'

/** `--json`: `{ "host": "example.com", "port": 443, "removed": 3 }`; `port` is null for all ports. */
export const command: Command = {
  usage: 'invalidate HOST[:PORT] [--json]',
  help: `
Removes the tickets of one server, whatever they are bound to. Without a port, of all its ports; with
one, of that port and of tunnels that hid the port. An IPv6 address with a port takes brackets:
[2001:db8::1]:443.`,
  operands: [1, 1],
  async run({ operands: [text = ''] }) {
    const { host, port } = readServer(text)
    const opened = await openStore()
    const store = requireStore(opened)
    const listed = store?.list(unixNow()).filter(({ peer }) => peer.host === host) ?? []
    // Files that cannot be opened are found by their names, for which the port must be known.
    const known = listed.map(({ peer }) => peer.port)
    const ports = new Set(port === undefined ? [0, 443, ...known] : [0, port])
    for (const each of ports) store?.invalidate(peerOf(host, each))
    const left = new Set(store?.list(unixNow()).map(({ file }) => file))
    const gone = listed.filter(({ peer }) => ports.has(peer.port))
    if (gone.some(({ file }) => left.has(file))) {
      throw new Failure(`not every ticket could be removed; check that ${opened.directory} can be written to`)
    }
    const where = port === undefined ? host : `${host}, port ${port}`
    return {
      json: { host, port: port ?? null, removed: gone.length },
      text: [
        gone.length
          ? `Removed ${count(gone.length, 'ticket')} of ${where}.`
          : `There was no ticket of ${where}.`,
      ],
    }
  },
}

function readServer(text: string): { host: string; port: number | undefined } {
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
