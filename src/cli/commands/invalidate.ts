import { peerOf } from '../../host-port.ts'
import type { Removed, TicketStore } from '../../store/ticket-store.ts'
import { type Command, Failure } from '../command.ts'
import { openStore, requireStore } from '../open-store.ts'
import { readServer } from '../read-server.ts'
import { count } from '../render.ts'

/**
 * `--json`: `{ "host": "example.com", "port": 443, "removed": 3 }`; `port` is null for all ports, and `removed`
 * counts files: of tickets, and of records of how the server responded to them.
 */
export const command: Command = {
  usage: 'invalidate HOST[:PORT] [--json]',
  help: `
Removes the tickets of one server, whatever they are bound to, and the record of its failures. Without a
port, this is done for all ports. With a port, it is done for that port and for tunnels that hid the
port. An IPv6 address with a port takes brackets: [2001:db8::1]:443.`,
  operands: [1, 1],
  async run({ operands: [text = ''] }) {
    const { host, port } = readServer(text)
    const opened = await openStore()
    const store = requireStore(opened)
    const { removed, left } = store ? invalidate(store, host, port) : { removed: 0, left: 0 }
    if (left > 0) {
      throw new Failure(`not every ticket could be removed; check that ${opened.directory} can be written to`)
    }
    const where = port === undefined ? host : `${host}, port ${port}`
    return {
      json: { host, port: port ?? null, removed },
      text: [removed ? `Removed ${count(removed, 'file')} of ${where}.` : `There was no ticket of ${where}.`],
    }
  },
}

function invalidate(store: TicketStore, host: string, port: number | undefined): Removed {
  if (port === undefined) return store.invalidateHost(host)
  const [known, unknown] = [port, 0].map((each) => store.invalidate(peerOf(host, each))) as [Removed, Removed]
  return { removed: known.removed + unknown.removed, left: known.left + unknown.left }
}
