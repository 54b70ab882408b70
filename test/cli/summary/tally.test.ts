import { describe, expect, it } from 'vitest'
import { summaryInWords } from '../../../src/cli/summary/words.ts'
import type { Line } from '../../../src/runtime/summary-file.ts'
import { full, later, line, summaryOf } from './kit.ts'

const words = (lines: readonly Line[]) => summaryInWords(summaryOf(lines).summary)
const sentence = (lines: readonly Line[]) => words(lines).sentence
const times = (n: number, one: ReturnType<typeof line>) => Array.from({ length: n }, () => one)

describe('the sentence', () => {
  it('says how many were resumed, what that saved, and why the others were not', () => {
    const gives = { protocol: 'TLSv1.3', host: 'cdn.example' }
    const lines = [
      ...times(139, line()),
      ...times(2, line({ ...gives, sessions: 1 })),
      ...times(2, full('no ticket', { host: 'api.example' })),
    ]
    expect(words(lines)).toEqual({
      sentence:
        '143 connections to 3 hosts: 141 resumed, about 7 s of handshakes saved; 2 not (api.example: the server gives no tickets)',
      reasons: [],
      notes: [],
    })
  })

  it('names the only host, and its port unless that is 443', () => {
    expect(sentence([line()])).toBe(
      '1 connection to registry.example: 1 resumed, about 50 ms of handshakes saved',
    )
    expect(sentence([line({ port: 8443 })])).toContain('1 connection to registry.example:8443: 1 resumed')
    expect(sentence([line({ host: '::1', port: 8443 })])).toContain('to [::1]:8443: 1 resumed')
    expect(sentence([line({ host: '', port: 0 })])).toContain('to a host that is not known: 1 resumed')
  })

  it('lists several reasons, the most frequent first', () => {
    const hosts = ['a', 'b', 'c', 'd', 'e'].map((name) =>
      full('worker thread: not known', { host: `${name}.example` }),
    )
    const { sentence, reasons } = words([full('certificate verification is disabled'), ...hosts])
    expect(sentence).toBe('6 connections to 6 hosts: 0 resumed; 6 not')
    expect(reasons).toEqual([
      '5 to a.example, b.example, c.example, 2 other hosts: worker thread: not known',
      '1 to registry.example: certificate verification is disabled',
    ])
  })

  it('counts the reasons beyond the first few', () => {
    const { reasons } = words(Array.from({ length: 30 }, (_, i) => full(`the flag --${i} may decide trust`)))
    expect(reasons).toHaveLength(9)
    expect(reasons.at(-1)).toBe('22 for other reasons')
  })

  it('counts resumptions by the program itself separately', () => {
    expect(sentence([...times(4, line({ isProgramsOwn: true }))])).toBe(
      "4 connections to registry.example: 4 resumed (4 with the program's own sessions)",
    )
  })

  it('adds up the tickets of all lines, also of one process', () => {
    const kept = (pid: number, kept: number) => ({ pid, kept, problem: '' })
    expect(sentence([line(), kept(1, 2), kept(1, 3), kept(2, 1)])).toContain(', 6 tickets stored')
  })

  it('says that nothing was seen, and why', () => {
    expect(words([{ notSeen: 'bun' }])).toEqual({
      sentence: 'no TLS connection of a Node program was seen',
      reasons: [],
      notes: ['bun is not a Node program, so its own connections are not seen'],
    })
    const LATE = 'the key came too late for this connection'
    expect(words([full(LATE)]).notes).toEqual([expect.stringContaining('ticketkeep init --key-file')])
    expect(words([full(LATE), line()]).notes).toEqual([])
    expect(words([full('nothing is kept without a key: memory: x'), full(LATE)]).notes).toEqual([
      '"ticketkeep doctor" says what to do',
    ])
    const { summary } = summaryOf([], { off: 'disabled', incomplete: true })
    expect(summaryInWords(summary)).toMatchObject({
      sentence: expect.stringContaining('disabled by TICKETKEEP_DISABLE'),
      notes: ['there were more connections than can be counted here'],
    })
  })
})

describe('a connection without a ticket', () => {
  const codes = (lines: readonly Line[]) =>
    summaryOf(lines).summary.hosts.flatMap(({ notResumed }) => notResumed.map(({ reason }) => reason))

  it('is a first connection if the server issues tickets', () => {
    expect(codes([full('no ticket', { sessions: 1 }), full('no ticket')])).toEqual(['nothing-stored'])
  })

  it('shows that the server issues no tickets if it has answered and none came', () => {
    expect(codes([full('no ticket')])).toEqual(['no-tickets'])
    const early = { called: 1, connected: 2, secure: 3 }
    expect(codes([full('no ticket', { protocol: 'TLSv1.3', times: early })])).toEqual(['nothing-stored'])
    expect(codes([full('no ticket', { protocol: 'TLSv1.2', times: early })])).toEqual(['no-tickets'])
  })

  it('came too late if other connections to that host had tickets', () => {
    const lines = [line(), later(5, full('no ticket', { sessions: 2 }))]
    expect(codes(lines)).toEqual(['tickets-used-up'])
    expect(codes([full('no ticket', { sessions: 2 }), later(5, line())])).toEqual(['nothing-stored'])
  })

  it('has the reason of its process if that can store nothing', () => {
    const problem = { pid: 42, kept: 0, problem: 'nothing is kept without a key: keychain: it is locked' }
    const { summary } = summaryOf([full('no ticket', { sessions: 2 }), problem])
    expect(summary.hosts[0]?.notResumed).toEqual([
      { reason: 'no-key', words: 'there is no key (keychain: it is locked)', connections: 1 },
    ])
  })
})

describe('the time saved', () => {
  const saved = (lines: readonly Line[]) => summaryOf(lines).summary.savedMs
  const lasting = (ms: number, one: ReturnType<typeof line>) => ({
    ...one,
    times: { ...one.times, secure: one.times.connected! + ms },
  })

  it('is one round trip of TCP for each TLS 1.2 resumption', () => {
    expect(saved(times(10, line()))).toBe(500)
  })

  it('is at most the shortest measured round trip', () => {
    const busy = { called: 0, attempted: 0, connected: 90, secure: 120 }
    expect(saved([line({ times: busy }), line({ times: busy })])).toBe(60)
    expect(saved([line({ times: { ...busy, connected: 20 } }), line({ times: busy })])).toBe(40)
  })

  it('is at most the difference from a full handshake, if one was seen', () => {
    const all = [100, 101, 900].map((ms) => lasting(ms, full('no ticket')))
    expect(saved([...all, ...[60, 61, 700].map((ms) => lasting(ms, line()))])).toBe(3 * 40)
    // The first handshakes of a process are slow, so they prove nothing beyond the round trip.
    expect(saved([lasting(900, full('no ticket')), line()])).toBe(50)
  })

  it('is never negative', () => {
    expect(saved([lasting(10, full('no ticket')), lasting(30, line())])).toBe(0)
  })

  it('is unknown for TLS 1.3, in a tunnel, or if nothing was resumed', () => {
    expect(saved(times(9, line({ protocol: 'TLSv1.3' })))).toBeNull()
    expect(saved([line({ times: { called: 0, secure: 50 } })])).toBeNull()
    expect(saved(times(9, full('no ticket')))).toBeNull()
    expect(saved([])).toBeNull()
  })
})
