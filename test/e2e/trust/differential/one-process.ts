import type { NodeLine } from '../../../support/pinned.ts'
import { type Attempt, oneProcess, run, type Site } from './programs.ts'
import { type Place, sharesProcess, type Verdict, verdictOf } from './verdicts.ts'
import type { Way } from './way.ts'

// One process accepts a server and then refuses it. It has the same set-up both times, and the tickets are in its memory.

export interface InOneProcess extends Place {
  readonly accepting: Way
  readonly refusing: Way
  readonly verdict: Verdict
  /** Whether a ticket was left, and the server is refused without ticketkeep. */
  readonly counts: boolean
}

/** The ways that need only options. Those that may use up tickets come last. */
export function neighbours(refusing: readonly Way[]): Way[] {
  const fitting = refusing.filter(sharesProcess)
  return [...fitting.filter(({ judge }) => !judge), ...fitting.filter(({ judge }) => judge)]
}

interface Report {
  readonly results: readonly (Attempt & { readonly tickets: number })[]
}

export async function judgeInOneProcess(
  site: Site,
  accepting: Way,
  refusing: readonly Way[],
  node: NodeLine,
): Promise<InOneProcess[]> {
  const all = { site, node, way: accepting, source: oneProcess(site, accepting, refusing) }
  const without = await run<Report>({ ...all, preload: false })
  const withUs = await run<Report>({ ...all, preload: true })
  const { name: server, world } = site.server
  return refusing.map((way, i) => {
    const verdict = verdictOf(way, without?.results[i], withUs?.results[i], server)
    const counts = verdict !== 'no refusal' && (withUs?.results[i]?.tickets ?? 0) > 0
    return { accepting, refusing: way, server, version: world.version, node, verdict, counts }
  })
}
