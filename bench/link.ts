import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { missingCommands, missingRoot } from '../test/support/missing.ts'
import { ROOT } from '../test/support/places.ts'

/** A network namespace behind a link with a round-trip time (`test/support/wan.py`). */
export interface Link {
  /** The address of the servers inside. */
  readonly address: string
  /** The caller's own address, as seen from inside. */
  readonly near: string
  /** The prefix of a command to run it inside. */
  readonly inside: readonly string[]
  close(): Promise<void>
}

export const missingLink = (): string | undefined =>
  missingRoot() ??
  missingCommands('ip', 'python3') ??
  (existsSync('/dev/net/tun') ? undefined : 'there is no /dev/net/tun')

let links = 0

export async function startLink(rttMs: number): Promise<Link> {
  const number = links++
  const name = `tkb${process.pid % 10_000}n${number}`
  // A separate subnet, because several links may exist at once.
  const subnet = `10.98.${(process.pid + number) % 256}`
  const wan = spawn(
    'python3',
    [
      join(ROOT, 'test/support/wan.py'),
      ...['--rtt', String(rttMs), '--ns', name, '--subnet', subnet, '--'],
      ...['sh', '-c', 'echo ready; cat'],
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  )
  const ended = once(wan, 'exit')
  const ready = await Promise.race([once(wan.stdout, 'data'), ended])
  if (!String(ready[0]).startsWith('ready')) throw new Error('the link did not come up')
  return {
    address: `${subnet}.2`,
    near: `${subnet}.1`,
    inside: ['ip', 'netns', 'exec', name],
    async close() {
      wan.stdin.end()
      await ended
    },
  }
}
