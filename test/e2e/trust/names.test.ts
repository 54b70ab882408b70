import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import { useServer } from '../../support/servers.ts'
import { type Attempt, harvested, inSandbox, LINES, offered, run, storeOf, unixNow } from './kit.ts'

// One server has one ticket key and a certificate with many names, so only ticketkeep keeps the sessions apart.
const NAMES = ['a.test', '*.wild.test', 'xn--bcher-kva.test', '127.0.0.1', '::1']

/** The program connects by these in turn. */
type Spelling = [host: string, servername?: string]
const SPELLINGS: Spelling[] = [
  ['127.0.0.1', 'a.test'],
  ['127.0.0.1', 'A.Test'],
  ['127.0.0.1', 'a.test.'],
  ['127.0.0.1', 'a.test..'],
  ['127.0.0.1', ' a.test'],
  ['127.0.0.1', 'a.test\0.b.test'],
  ['127.0.0.1', 'b.test'],
  ['127.0.0.1', 'x.wild.test'],
  ['127.0.0.1', 'y.wild.test'],
  ['127.0.0.1', '*.wild.test'],
  ['127.0.0.1', 'wild.test'],
  ['127.0.0.1', 'a.b.wild.test'],
  ['127.0.0.1', 'xn--bcher-kva.test'],
  ['127.0.0.1', 'bücher.test'],
  ['127.0.0.1', 'localhost'],
  ['127.0.0.1'],
  ['localhost'],
  ['127.1'],
  ['0x7f000001'],
  ['::ffff:127.0.0.1'],
  ['::1'],
  ['::1%lo'],
  ['[::1]'],
]

const given = useServer({ names: NAMES, kind: 'raw', address: '::' })

const ALL = `
  const results = []
  for (const [host, servername] of input.spellings)
    results.push(await attempt({ host, port: input.port, ca: input.ca, ...(servername !== undefined && { servername }) }))
  report(results)`

for (const line of LINES) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    const node = { node: nodeBinary(line) }

    it('a session of one name is offered for no other spelling, and every connection ends as without ticketkeep', () =>
      inSandbox(async (sandbox) => {
        const input = (spellings: Spelling[]) => ({ ca: given.ca.cert, port: given.server.port, spellings })
        const theirs = await run<Attempt[]>(sandbox, ALL, input(SPELLINGS), { ...node, preload: false })
        for (const own of SPELLINGS) {
          const [made] = await run<Attempt[]>(sandbox, ALL, input([own]), node)
          if (!harvested(made!)) continue
          const others = SPELLINGS.filter((other) => other !== own)
          const ours = await run<Attempt[]>(sandbox, ALL, input(others), node)
          expect(ours.filter(offered)).toEqual([])
          expect(ours.map(({ seen }) => seen)).toEqual(
            theirs.filter((_, i) => SPELLINGS[i] !== own).map(({ seen }) => seen),
          )
          const store = storeOf(sandbox)
          for (const { peer } of store.list(unixNow())) store.invalidate(peer)
        }
      }))

    it('a checkServerIdentity that the program has put back is not called', () =>
      inSandbox(async (sandbox) => {
        const address = { host: '127.0.0.1', port: given.server.port, ca: given.ca.cert }
        await run(sandbox, 'report(await attempt(input))', address, node)
        const body = `
          const own = tls.checkServerIdentity
          let asked = 0
          tls.checkServerIdentity = () => { asked++ }
          await attempt(input)
          tls.checkServerIdentity = own
          asked = 0
          const { events } = await attempt(input)
          report({ asked, events })`
        const { asked, events } = await run<{ asked: number; events: string[] }>(sandbox, body, address, node)
        expect([asked, events.includes('offer')]).toEqual([0, true])
      }))

    it('an empty server name counts as none', () =>
      inSandbox(async (sandbox) => {
        const input = {
          ca: given.ca.cert,
          port: given.server.port,
          spellings: [['127.0.0.1'], ['127.0.0.1', '']],
        }
        const [, empty] = await run<Attempt[]>(sandbox, ALL, input, node)
        expect([offered(empty!), empty!.reused, empty!.seen.authorized]).toEqual([true, true, true])
      }))
  })
}
