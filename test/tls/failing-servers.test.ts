import { beforeEach, describe, expect, it } from 'vitest'
import { FailingServers } from '../../src/tls/failing-servers.ts'

const a = { host: 'a.test', port: 443 }
const b = { host: 'b.test', port: 443 }

let time: number
let calls: string[]
let offers: FailingServers
/** Remembers what it was told, and leaves `b` alone. */
const notes = {
  whyLeftAlone: ({ host }: { host: string }) => (host === 'b.test' ? 'it failed' : undefined),
  begin: () => {
    calls.push('begin')
    return 'note'
  },
  end: (_: unknown, note?: string) => void calls.push(`end ${note}`),
  answered: (_: unknown, note?: string) => void calls.push(`answered ${note}`),
  failed: (_: unknown, note?: string, reason?: string) => void calls.push(`failed ${note} ${reason}`),
}
beforeEach(() => {
  time = 1_800_000_000
  calls = []
  offers = new FailingServers(() => time)
  offers.attach(notes)
})

const begin = (peer: typeof a, hasAnswer = false) => offers.begin(peer, () => hasAnswer)
const wait = (ms: number) => new Promise((done) => setTimeout(done, ms))

it('one note serves all offers to a peer until the first is answered; later ones need none', () => {
  const [one, two] = [begin(a), begin(a)]
  offers.answered(one)
  offers.answered(two)
  offers.answered(begin(a))
  expect(calls).toEqual(['begin', 'answered note'])
})

it('a peer that failed is left alone in this process, for an hour', () => {
  offers.failed(begin(a), 'ECONNRESET')
  expect(calls).toEqual(['begin', 'failed note ECONNRESET'])
  expect([offers.whyLeftAlone(a), new FailingServers(() => time).whyLeftAlone(a)]).toEqual([
    'the server failed on an earlier offer of this process',
    undefined,
  ])
  time += 3_600
  expect(offers.whyLeftAlone(a)).toBeUndefined()
})

it('what other processes know counts', () => {
  expect(offers.whyLeftAlone(b)).toBe('it failed')
})

it('where nothing can be noted, this process alone knows', () => {
  offers = new FailingServers(() => time)
  offers.failed(begin(a), 'ECONNRESET')
  expect(offers.whyLeftAlone(a)).toBeDefined()
})

describe('a connection that fails', () => {
  it('is no fault of the offer where the server has answered another one', () => {
    const [one, two] = [begin(a), begin(a)]
    offers.answered(one)
    offers.failed(two, 'ECONNRESET')
    expect(offers.whyLeftAlone(a)).toBeUndefined()
  })

  it('and one that is answered after it: the server takes offers', () => {
    const [one, two] = [begin(a), begin(a)]
    offers.failed(one, 'ECONNRESET')
    offers.answered(two)
    expect(offers.whyLeftAlone(a)).toBeUndefined()
    expect(calls.at(-1)).toBe('answered undefined')
  })

  it('right after its answer is a failure all the same: TLS 1.3 tells of a refusal late', () => {
    const one = begin(a)
    offers.answered(one)
    offers.failed(one, 'connection closed')
    expect(offers.whyLeftAlone(a)).toBeDefined()
  })
})

describe('a connection that the program gives up', () => {
  it('says nothing where the server had hardly time to answer', () => {
    offers.givenUp(begin(a))
    expect(calls).toEqual(['begin', 'end note'])
    expect(offers.whyLeftAlone(a)).toBeUndefined()
  })

  it('is a failure where it had', async () => {
    const one = begin(a)
    await wait(260)
    offers.givenUp(one)
    expect(calls).toEqual(['begin', 'failed note no answer'])
  })

  it('says nothing after the answer', async () => {
    const one = begin(a)
    offers.answered(one)
    await wait(260)
    offers.givenUp(one)
    offers.giveUpAll()
    expect(calls).toEqual(['begin', 'answered note'])
  })

  it('says nothing where the server has answered, and the program has removed our listeners', async () => {
    const one = begin(a, true)
    await wait(260)
    offers.giveUpAll()
    expect([one.peer, ...calls]).toEqual([a, 'begin', 'answered note'])
  })

  it('is every one at the end of the process', async () => {
    const one = begin(a)
    await wait(260)
    begin(b)
    offers.giveUpAll()
    expect(one.peer).toBe(a)
    expect(calls).toEqual(['begin', 'begin', 'failed note no answer', 'end note'])
  })
})
