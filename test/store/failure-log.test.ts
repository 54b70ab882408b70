import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import { prune, purge } from '../../src/store/bounds.ts'
import { isFailureName, isOfferName, offerName } from '../../src/store/names.ts'
import { TicketStore } from '../../src/store/ticket-store.ts'
import { fresh } from '../support/directories.ts'
import { subkeys, ticket } from '../support/tickets.ts'

const NOW = Math.floor(Date.now() / 1000)
const HOUR = 3_600
const DAY = 86_400
const a = { host: 'a.test', port: 443 }
const b = { host: 'b.test', port: 443 }

let directory: string
beforeEach(() => {
  directory = fresh()
})

/** The log as a process that starts now sees it. */
const open = (seed = 1, previous: readonly number[] = []) =>
  new TicketStore({
    directory,
    subkeys: subkeys(seed),
    previous: previous.map(subkeys),
    cipher: 'xsalsa20-poly1305',
  }).failures

const isLeftAlone = (now: number, peer = a, log = open()) => log.whyLeftAlone(peer, now) !== undefined
const files = () =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' }).map((name) => name.split('/').at(-1)!)
const fail = (now: number, reason = 'ECONNRESET') => {
  const log = open()
  log.failed(a, log.begin(a, now), reason, now)
}

/** The id of a process that has ended. */
const ended = () => spawnSync(process.execPath, ['-e', '']).pid

/** The note of an offer by a process with this id, which has not removed it. */
function leaveOffer(now: number, pid = ended()): void {
  const log = open()
  const note = log.begin(a, now)!
  const folder = readdirSync(directory).find((name) => name !== 'CACHEDIR.TAG')!
  log.end(a, note)
  const name = offerName(now, { pid, startedAt: 0 }, '01234567')
  expect(isOfferName(name)).toBe(true)
  write(join(directory, folder, name))
}

const write = (path: string) => spawnSync('touch', [path])

describe('a server that failed', () => {
  it('is left alone for an hour, then for a day, then for a week at most', () => {
    let now = NOW
    for (const lasts of [HOUR, DAY, 7 * DAY, 7 * DAY]) {
      expect(isLeftAlone(now)).toBe(false)
      fail(now)
      expect([isLeftAlone(now), isLeftAlone(now + lasts - 1)]).toEqual([true, true])
      now += lasts
    }
    expect(isLeftAlone(now)).toBe(false)
    expect(files().filter(isFailureName)).toHaveLength(1)
  })

  it('is not confused with other servers', () => {
    fail(NOW)
    expect(isLeftAlone(NOW, b)).toBe(false)
    expect(isLeftAlone(NOW, { ...a, port: 8443 })).toBe(false)
    expect(isLeftAlone(NOW, a, open(2))).toBe(false)
  })

  it('is still known after a rotation of the key', () => {
    fail(NOW)
    expect(isLeftAlone(NOW, a, open(2, [1]))).toBe(true)
    expect(open(2, [1]).list(NOW)).toMatchObject([{ peer: a, reason: 'ECONNRESET' }])
  })

  it('is not forgiven when it serves again on the same day, since some fail now and then', () => {
    fail(NOW)
    open().served(a, NOW + HOUR)
    fail(NOW + HOUR)
    expect([isLeftAlone(NOW + HOUR + DAY - 1), isLeftAlone(NOW + HOUR + DAY)]).toEqual([true, false])
  })

  it('is forgiven when it serves a day later, and the next failure counts as its first', () => {
    fail(NOW)
    open().served(a, NOW + DAY)
    expect(files().filter(isFailureName)).toEqual([])
    fail(NOW + DAY)
    expect(isLeftAlone(NOW + DAY + HOUR)).toBe(false)
  })

  it('is forgiven under all keys of the user', () => {
    fail(NOW)
    open(2, [1]).served(a, NOW + DAY)
    expect(files().filter(isFailureName)).toEqual([])
  })

  it('counts as failed once for many connections that fail at once', () => {
    for (let i = 0; i < 5; i++) fail(NOW)
    expect([isLeftAlone(NOW + HOUR - 1), isLeftAlone(NOW + HOUR)]).toEqual([true, false])
  })

  it('is listed with the reason, which is encrypted on disk', () => {
    fail(NOW, 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE')
    expect(open().list(NOW)).toEqual([
      {
        peer: a,
        reason: 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE',
        failedAt: NOW,
        leftAloneUntil: NOW + HOUR,
      },
    ])
    expect([open().list(NOW + HOUR), open(2).list(NOW)]).toEqual([[], []])
    for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
      if (!path.endsWith('.failed')) continue
      expect(path + readFileSync(join(directory, path), 'latin1')).not.toMatch(/a\.test|ALERT/)
    }
  })

  it('is forgotten by invalidate for its port or its host', () => {
    const store = () =>
      new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305', previous: [] })
    fail(NOW)
    store().invalidate(a)
    expect(isLeftAlone(NOW)).toBe(false)
    fail(NOW)
    store().invalidateHost(a.host)
    expect(isLeftAlone(NOW)).toBe(false)
  })

  it('is not forgotten when its tickets are removed', () => {
    const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
    store.save(a, [ticket(1, NOW)], NOW)
    fail(NOW)
    store.dropTickets(a)
    expect([store.list(NOW), isLeftAlone(NOW)]).toEqual([[], true])
  })

  it('is removed by prune after two weeks, and by purge at once', () => {
    for (let i = 0, now = NOW; i < 3; i++, now += DAY) fail(now)
    const last = NOW + 2 * DAY
    prune(directory, last + 7 * DAY)
    fail(last + 7 * DAY)
    expect(isLeftAlone(last + 14 * DAY - 1)).toBe(true)
    prune(directory, last + 21 * DAY)
    expect(files().filter((name) => name !== 'CACHEDIR.TAG')).toEqual([])
    fail(NOW)
    purge(directory)
    expect(isLeftAlone(NOW)).toBe(false)
  })

  it('may be a file without valid content, which then counts by its name and is listed without a host', () => {
    fail(NOW)
    const path = readdirSync(directory, { recursive: true, encoding: 'utf8' }).find((one) =>
      one.endsWith('.failed'),
    )!
    spawnSync('truncate', ['-s', '100', join(directory, path)])
    expect([isLeftAlone(NOW), open().list(NOW)]).toMatchObject([true, [{ peer: undefined }]])
  })
})

describe('an offer without an answer', () => {
  it('leaves no trace once it is answered or withdrawn', () => {
    const log = open()
    log.end(a, log.begin(a, NOW))
    expect(files().filter(isOfferName)).toEqual([])
    expect(isLeftAlone(NOW)).toBe(false)
  })

  it('is not a failure while its process runs', () => {
    const log = open()
    log.begin(a, NOW)
    expect(isLeftAlone(NOW + 9, a, log)).toBe(false)
    leaveOffer(NOW, process.ppid)
    expect(isLeftAlone(NOW + 9, a, log)).toBe(false)
  })

  it('is a failure once its process has ended', () => {
    leaveOffer(NOW)
    expect([isLeftAlone(NOW), isLeftAlone(NOW + HOUR)]).toEqual([true, false])
  })

  it.runIf(process.platform === 'linux')('is a failure once its process is a zombie', async () => {
    const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 20'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [pid] = (await once(parent.stdout, 'data')) as [Buffer]
    leaveOffer(NOW, Number(pid))
    await vi.waitFor(() => expect(isLeftAlone(NOW)).toBe(true), 5_000)
    expect(process.kill(Number(pid), 0)).toBe(true)
    parent.kill()
  })

  it('is a failure after ten seconds, even if its process runs', () => {
    leaveOffer(NOW, 1)
    expect([isLeftAlone(NOW + 9), isLeftAlone(NOW + 10)]).toEqual([false, true])
  })

  it('is not a failure if another thread of this process has made it', () => {
    open().begin(a, NOW)
    expect(isLeftAlone(NOW)).toBe(false)
    expect(isLeftAlone(NOW + 11)).toBe(true)
  })

  it('is a failure if its process had the id of this one, as in containers', () => {
    leaveOffer(NOW, process.pid)
    expect(isLeftAlone(NOW)).toBe(true)
  })

  it('is not recorded before ten seconds, since its process may run in another container', () => {
    leaveOffer(NOW)
    expect(isLeftAlone(NOW + 9)).toBe(true)
    expect(files().filter(isOfferName)).toHaveLength(1)
  })

  it('counts as part of a failure in the same hour, under any key', () => {
    leaveOffer(NOW)
    fail(NOW + 1)
    leaveOffer(NOW + 2)
    for (const log of [open(), open(2, [1])]) {
      expect(isLeftAlone(NOW + 30, a, log)).toBe(true)
      expect(isLeftAlone(NOW + 2 + HOUR, a, log)).toBe(false)
    }
  })

  it('is removed when the server serves a connection', () => {
    leaveOffer(NOW)
    open().served(a, NOW)
    expect(isLeftAlone(NOW)).toBe(false)
  })

  it('is read again before it counts, since its process may have withdrawn it', () => {
    leaveOffer(NOW)
    const log = open()
    expect(log.whyLeftAlone(b, NOW)).toBeUndefined()
    const folder = readdirSync(directory).find((name) => name !== 'CACHEDIR.TAG')!
    const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
    store.take(a, '', NOW)
    for (const name of readdirSync(join(directory, folder))) unlinkSync(join(directory, folder, name))
    expect(store.failures.whyLeftAlone(a, NOW)).toBeUndefined()
  })

  it('is recorded as a failure after ten seconds', () => {
    leaveOffer(NOW)
    expect(isLeftAlone(NOW + 10)).toBe(true)
    expect(files().filter((name) => isOfferName(name) || isFailureName(name))).toHaveLength(1)
    expect(open().list(NOW + 10)).toEqual([
      { peer: a, reason: 'no answer', failedAt: NOW, leftAloneUntil: NOW + HOUR },
    ])
    leaveOffer(NOW + HOUR)
    expect([isLeftAlone(NOW + HOUR + DAY - 1), isLeftAlone(NOW + HOUR + DAY)]).toEqual([true, false])
  })

  it('is listed, with the server if a ticket in the folder names it', () => {
    leaveOffer(NOW)
    expect(open().list(NOW)).toEqual([
      { peer: undefined, reason: 'no answer', failedAt: NOW, leftAloneUntil: NOW + HOUR },
    ])
    const store = new TicketStore({ directory, subkeys: subkeys(), cipher: 'xsalsa20-poly1305' })
    store.save(a, [ticket(1, NOW)], NOW)
    expect(open().list(NOW)).toMatchObject([{ peer: a, reason: 'no answer' }])
  })

  it('is not a failure if its time is in the future, after the clock was set back', () => {
    leaveOffer(NOW + DAY)
    expect(isLeftAlone(NOW)).toBe(false)
  })
})

it('a store that cannot be written to notes nothing and does not throw', () => {
  const log = new TicketStore({
    directory: '/dev/null/nowhere',
    subkeys: subkeys(),
    cipher: 'xsalsa20-poly1305',
  }).failures
  expect(log.begin(a, NOW)).toBeUndefined()
  log.failed(a, undefined, 'ECONNRESET', NOW)
  log.end(a, undefined)
  log.served(a, NOW)
  expect([log.whyLeftAlone(a, NOW), log.list(NOW)]).toEqual([undefined, []])
})
