import { type HostPort, isSamePeer } from '../../src/host-port.ts'
import type { StoredTicket } from '../../src/ticket-entry.ts'
import type { PeerTickets, Shelf } from '../../src/tls/session-pool.ts'

/**
 * Batches in memory, as the store keeps them: one for each save, peer and binding. Batches of single-use tickets are removed
 * when taken.
 */
export class MemoryShelf implements Shelf {
  batches: { peer: HostPort; binding: string; tickets: StoredTicket[]; isRead: boolean }[] = []
  readonly calls: string[] = []
  /** How many of the tickets of a save are kept. */
  most = Number.POSITIVE_INFINITY

  take(peer: HostPort, binding: string, _now?: number, address?: string): StoredTicket[] {
    this.calls.push(`take ${peer.host} ${binding}${address ? ` of ${address}` : ''}`)
    const at = this.batches.findLastIndex(
      (one) =>
        isSamePeer(one.peer, peer) &&
        one.binding === binding &&
        (address === undefined || one.tickets[0]?.address === address) &&
        !one.isRead,
    )
    const batch = this.batches[at]
    if (!batch) return []
    batch.isRead = true
    if (batch.tickets.some(({ protocol }) => protocol === 'TLSv1.3')) this.batches.splice(at, 1)
    return batch.tickets
  }

  saveAll(entries: readonly PeerTickets[]): number {
    this.calls.push(`save ${entries.map(({ peer, tickets }) => `${peer.host} ${tickets.length}`).join(', ')}`)
    let kept = 0
    for (const { peer, tickets } of entries) {
      const some = tickets.slice(0, this.most)
      this.batches.push({ peer, binding: tickets[0]!.binding!, tickets: [...some], isRead: false })
      kept += some.length
    }
    return kept
  }

  dropTickets(peer: HostPort, storedBefore?: number, address?: string): void {
    const of = address === undefined ? '' : ` of ${address}`
    this.calls.push(
      `invalidate ${peer.host}${storedBefore === undefined ? '' : ` before ${storedBefore}`}${of}`,
    )
    if (storedBefore === undefined) this.batches = this.batches.filter((one) => !isSamePeer(one.peer, peer))
  }

  dropOtherKeys(peer: HostPort, spkiFp: Uint8Array): void {
    this.calls.push(`drop other keys ${peer.host} ${spkiFp[0]}`)
  }
}
