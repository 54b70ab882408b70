import { execFileSync } from 'node:child_process'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { NODE_LINES, nodeBinary } from '../test/support/pinned.ts'

/** Describes the machine and its current load in one sentence. */
export function describeMachine(): string {
  const all = cpus()
  const nodes = NODE_LINES.flatMap((line) => {
    try {
      return [execFileSync(nodeBinary(line), ['--version'], { encoding: 'utf8' }).trim()]
    } catch {
      return []
    }
  })
  const memory = Math.round(totalmem() / 2 ** 30)
  return (
    `${all.length} cores of ${all[0]?.model.trim() ?? 'an unknown processor'}, ${memory} GiB, ` +
    `Linux ${release()}, Node ${nodes.join(', ')}; load at the end ${loadavg()[0]!.toFixed(1)}.`
  )
}
