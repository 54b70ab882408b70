import { beforeEach, describe, expect, it } from 'vitest'
import { FailingServers } from '../../src/tls/failing-servers.ts'

const a = { host: 'a.test', port: 443 }
const b = { host: 'b.test', port: 443 }

let time: number
let calls: string[]
let timers: (() => void)[]
let servers: FailingServers
/** Records its calls, and leaves `b` alone. */
const notes = {
  whyLeftAlone: ({ host }: { host: string }) => (host === 'b.test' ? 'it failed' : undefined),
  begin: () => {
    calls.push('begin')
    return 'note'
  },
  end: (_: unknown, note?: string) => void (note && calls.push(`end ${note}`)),
  served: () => void calls.push('served'),
  failed: (_: unknown, note?: string, reason?: string) => void calls.push(`failed ${note} ${reason}`),
}
const make = () =>
  new FailingServers(
    () => time,
    (_ms, callback) => timers.push(callback),
  )
beforeEach(() => {
  time = 1_800_000_000
  calls = []
  timers = []
  servers = make()
  servers.attach(notes)
})

const begin = (peer: typeof a, hasAnswer = false) => servers.begin(peer, 250, () => hasAnswer)
/** The server has had time to answer, and the process has checked. */
const waitForAnswer = () => {
  for (const timer of timers) timer()
}

it('one note covers all offers to a server until the first is answered, and later offers need none', () => {
  const [one, two] = [begin(a), begin(a)]
  servers.answered(one)
  servers.answered(two)
  servers.answered(begin(a))
  expect(calls).toEqual(['begin', 'end note'])
})

it('a served connection is noted once', () => {
  const one = begin(a)
  servers.answered(one)
  servers.served(one)
  servers.served(one)
  expect(calls).toEqual(['begin', 'end note', 'served'])
})

it('a server that failed is left alone in this process for an hour', () => {
  servers.failed(begin(a), 'ECONNRESET')
  expect(calls).toEqual(['begin', 'failed note ECONNRESET'])
  expect([servers.whyLeftAlone(a), make().whyLeftAlone(a)]).toEqual([
    'the server failed on an earlier offer of this process',
    undefined,
  ])
  time += 3_600
  expect(servers.whyLeftAlone(a)).toBeUndefined()
})

it('a server that failed in other processes is left alone', () => {
  expect(servers.whyLeftAlone(b)).toBe('it failed')
})

it('the notes are read once in a burst, and again in the next second, for another server and after a failure', () => {
  const asked: string[] = []
  servers.attach({
    ...notes,
    whyLeftAlone: ({ host }) => {
      asked.push(host)
      return host === 'b.test' ? 'it failed' : undefined
    },
  })
  const ask = (...peers: (typeof a)[]) => peers.map((peer) => servers.whyLeftAlone(peer))
  expect(ask(a, a, b, b, a)).toEqual([undefined, undefined, 'it failed', 'it failed', undefined])
  expect(asked).toEqual(['a.test', 'b.test', 'b.test'])
  time++
  ask(a, a)
  expect(asked.slice(3)).toEqual(['a.test'])
  servers.failed(begin(b), 'ECONNRESET')
  ask(a)
  expect(asked.slice(4)).toEqual(['a.test'])
})

it('without notes the process still knows its own failures', () => {
  servers = make()
  servers.failed(begin(a), 'ECONNRESET')
  expect(servers.whyLeftAlone(a)).toBeDefined()
})

describe('a connection that fails', () => {
  it('is not blamed on the offer if the server has answered another offer', () => {
    const [one, two] = [begin(a), begin(a)]
    servers.answered(one)
    servers.failed(two, 'ECONNRESET')
    expect(servers.whyLeftAlone(a)).toBeUndefined()
  })

  it('is blamed on the offer the second time in a row', () => {
    servers.answered(begin(a))
    servers.failed(begin(a), 'ECONNRESET')
    servers.failed(begin(a), 'ECONNRESET')
    expect(servers.whyLeftAlone(a)).toBeDefined()
  })

  it('is not blamed on the offer if another offer is answered later', () => {
    const [one, two] = [begin(a), begin(a)]
    servers.failed(one, 'ECONNRESET')
    servers.answered(two)
    expect(servers.whyLeftAlone(a)).toBeUndefined()
  })

  it('right after the answer is blamed on the offer, since a TLS 1.3 refusal comes late', () => {
    const one = begin(a)
    servers.answered(one)
    servers.failed(one, 'connection closed')
    expect(servers.whyLeftAlone(a)).toBeDefined()
  })
})

describe('a connection that the program gives up', () => {
  it('is not counted if the server had hardly any time to answer', () => {
    servers.givenUp(begin(a))
    expect(calls).toEqual(['begin', 'end note'])
    expect(servers.whyLeftAlone(a)).toBeUndefined()
  })

  it('leaves the note to other connections that are still open', () => {
    const [one, two] = [begin(a), begin(a)]
    servers.givenUp(one)
    expect(calls).toEqual(['begin'])
    servers.givenUp(two)
    expect(calls).toEqual(['begin', 'end note'])
  })

  it('counts as a failure if the server had time to answer', () => {
    const one = begin(a)
    waitForAnswer()
    servers.givenUp(one)
    expect(calls).toEqual(['begin', 'failed note no answer'])
  })

  it('is not counted after the answer', () => {
    const one = begin(a)
    servers.answered(one)
    waitForAnswer()
    servers.givenUp(one)
    servers.giveUpAll()
    expect(calls).toEqual(['begin', 'end note'])
  })

  it('is not counted if the server has answered and the program has removed the listeners', () => {
    begin(a, true)
    waitForAnswer()
    servers.giveUpAll()
    expect(calls).toEqual(['begin', 'end note'])
  })

  it('includes every open one at the end of the process', () => {
    begin(a)
    waitForAnswer()
    begin(b)
    servers.giveUpAll()
    expect(calls).toEqual(['begin', 'begin', 'failed note no answer', 'end note'])
  })
})

it('beyond 1,024 servers, those without an open offer are forgotten first', () => {
  const open = begin(a)
  for (let port = 1; port <= 1_100; port++) servers.answered(begin({ host: 'c.test', port }))
  waitForAnswer()
  servers.givenUp(open)
  expect(calls.at(-1)).toBe('failed note no answer')
})
