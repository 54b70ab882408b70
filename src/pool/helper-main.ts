// The process that talks to the pool. It reads a `Dial` and then a `Request`, each a line of JSON, on standard input,
// and writes lines to standard output. The client and everything that a pool can send stay in this process. It does not
// have the key, its memory is limited, and it is killed at the time limit.
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import { installedBeside } from '../common/installed-beside.ts'
import { packageFolder } from '../common/package-folder.ts'
import { connect, PoolFailure, reasonOf } from './client.ts'
import { give, status, take } from './commands.ts'
import type { Dial, Line, Request } from './messages.ts'

const say = (line: Line) => process.stdout.write(`${JSON.stringify(line)}\n`)

async function main(): Promise<void> {
  const input = createInterface({ input: process.stdin })
  // The parent no longer waits for an answer.
  input.on('close', () => process.exit())
  const lines = input[Symbol.asyncIterator]()
  const next = async <T>() => JSON.parse((await lines.next()).value) as T
  const dial = await next<Dial>()
  const iovalkey = await importClient().catch(() => undefined)
  if (iovalkey === undefined) {
    say({ state: 'failed', reason: 'the npm package iovalkey is not installed', isMissing: true })
    return
  }
  say({ state: 'loaded' })
  const late = rejectAfter(dial.budget * 0.8)
  const client = await connect(iovalkey, dial)
  say({ state: 'connected' })
  const request = await next<Request>()
  const answer = await {
    take: () => take(client, request as never, late),
    give: () => give(client, request as never, late),
    status: () => status(client, request as never),
  }[request.do]()
  say({ state: 'answered', answer })
  // The parent does not wait for commands that are still being sent to the pool.
  input.removeAllListeners('close')
  setTimeout(() => process.exit(), 1_000)
  await client.quit()
}

declare const __filename: string

async function importClient(): Promise<typeof import('iovalkey')> {
  const path = installedBeside(require, 'iovalkey', packageFolder() ?? dirname(__filename))
  return await import(pathToFileURL(path).href)
}

function rejectAfter(ms: number): Promise<never> {
  const late = new Promise<never>((_, fail) => {
    setTimeout(() => fail(new PoolFailure('it did not answer in time')), ms)
  })
  late.catch(() => {})
  return late
}

main()
  .catch((error: unknown) =>
    say({ state: 'failed', reason: error instanceof PoolFailure ? error.message : reasonOf(error) }),
  )
  .finally(() => process.stdout.end(() => process.exit()))
