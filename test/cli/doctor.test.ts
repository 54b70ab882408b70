import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { KEY_SOURCE_NAMES } from '../../src/key-sources.ts'
import { missingRoot, runs } from '../support/missing.ts'
import { masterKey } from '../support/tickets.ts'
import { cleanEnv, scratchDirectory, ticketkeep, useInstalled } from './kit.ts'

const KEY = Buffer.from(masterKey(1)).toString('base64')

const installed = useInstalled()

function doctor(extra: NodeJS.ProcessEnv, ...args: string[]) {
  const home = scratchDirectory()
  const env = cleanEnv({ HOME: home, TICKETKEEP_DIR: join(home, 'tickets'), ...extra })
  return { home, ...ticketkeep(installed, ['doctor', ...args], { env }) }
}

describe('ticketkeep doctor', () => {
  it('exits 0 if tickets would be kept, and lists every source in order with the chosen one marked', () => {
    const { status, stdout, stderr, home } = doctor({ TICKETKEEP_KEY: KEY })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^tickets kept +yes$/m)
    const rows = stdout.matchAll(/^(->| {2}) {2}(\w+) +(yes|no) {2}/gm)
    const sources = [...rows].map(([, mark, source]) => [source, mark === '->'])
    expect(sources).toEqual(KEY_SOURCE_NAMES.map((source) => [source, source === 'variable']))
    expect(stdout).not.toContain(KEY)
    expect(readdirSync(home)).toEqual([])
  })

  it('prints the same as JSON', () => {
    const { stdout, home } = doctor({ TICKETKEEP_KEY: KEY, TICKETKEEP_CIPHER: 'aes-256-gcm' }, '--json')
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({
      keeping: true,
      disabled: false,
      active: false,
      preload: installed.preload,
      key: { chosen: 'variable', kept: true },
      directory: { path: join(home, 'tickets'), exists: false, problem: null },
      node: { version: process.versions.node, leftAlone: null, precompiled: false },
      cipher: 'aes-256-gcm',
      clientCertificates: false,
    })
    expect(report.key.sources.map(({ source }: { source: string }) => source)).toEqual(KEY_SOURCE_NAMES)
  })

  it('says that a missing home directory will not be made', () => {
    const home = join(scratchDirectory(), 'later')
    const report = doctor({ TICKETKEEP_KEY: KEY, HOME: home, TICKETKEEP_DIR: undefined }, '--json')
    expect(report.status).toBe(1)
    expect(JSON.parse(report.stdout).directory.problem).toBe(`the home directory ${home} does not exist`)
  })

  it('exits 1 with advice if no source gives a key', () => {
    const { status, stdout } = doctor({ TICKETKEEP_KEY_SOURCE: 'memory' })
    expect(status).toBe(1)
    expect(stdout).toMatch(/^tickets kept +no: memory gives no key$/m)
    expect(stdout).toContain('What to do, one of these:')
    expect(stdout).toContain('TICKETKEEP_KEY_FILE=/run/secrets/ticketkeep')
    expect(stdout).toContain('TLS connections work as they do without ticketkeep')
  })

  it('says why a chosen source gives no key, without quoting its content', () => {
    const file = join(scratchDirectory(), 'key')
    writeFileSync(file, 'swordfish', { mode: 0o600 })
    const { status, stdout } = doctor({ TICKETKEEP_KEY_SOURCE: 'file', TICKETKEEP_KEY_FILE: file })
    expect(status).toBe(1)
    expect(stdout).toMatch(/^tickets kept +no: file gives no key$/m)
    expect(stdout).toMatch(/^-> {2}file +no +\S*key holds no key/m)
    expect(stdout).not.toContain('swordfish')
  })

  it('names the set source that fails and says that no other is asked', () => {
    const { status, stdout } = doctor({ TICKETKEEP_KEY: 'c2hvcnQ=', TICKETKEEP_KEY_COMMAND: `echo ${KEY}` })
    expect(status).toBe(1)
    expect(stdout).toMatch(/^tickets kept +no: variable gives no key$/m)
    expect(stdout).toMatch(/^-> {2}variable +no +TICKETKEEP_KEY is not a key: it has 8 characters/m)
    expect(stdout).toMatch(/^ {2}any other +Unset the source variable/m)
  })

  it('advises only on the source that TICKETKEEP_KEY_SOURCE names, and on that variable', () => {
    const { stdout, status } = doctor({ TICKETKEEP_KEY_SOURCE: 'file', TICKETKEEP_KEY_FILE: '/nowhere/key' })
    expect(status).toBe(1)
    const advice = stdout.slice(stdout.indexOf('What to do')).split('\n\n')[1]!
    expect(advice.split('\n').map((line) => line.trim().split(/ {2,}/)[0])).toEqual(['file', 'any other'])
    expect(advice).toContain('Unset TICKETKEEP_KEY_SOURCE')
  })

  it('exits 1 if ticketkeep is disabled or the directory cannot be used', () => {
    const disabled = doctor({ TICKETKEEP_KEY: KEY, TICKETKEEP_DISABLE: '1' })
    expect(disabled.status).toBe(1)
    expect(disabled.stdout).toMatch(
      /^tickets kept +no: disabled by TICKETKEEP_DISABLE or AUBE_DISABLE_TLS_TICKET_CACHE$/m,
    )
    const open = join(scratchDirectory(), 'open')
    mkdirSync(open)
    chmodSync(open, 0o755)
    writeFileSync(join(open, 'foreign'), '')
    const unusable = doctor({ TICKETKEEP_KEY: KEY, TICKETKEEP_DIR: open })
    expect(unusable.status).toBe(1)
    expect(unusable.stdout).toMatch(
      /^tickets kept +no: .* is open to other users, and holds files that are not tickets$/m,
    )
  })

  it('exits 1 and names the flag for which programs are left alone', () => {
    const { stdout, status } = doctor({ TICKETKEEP_KEY: KEY, NODE_OPTIONS: '--use-openssl-ca' })
    expect(status).toBe(1)
    expect(stdout).toMatch(/--use-openssl-ca/)
  })

  it('says how to find a server that rejects resumed client certificates, if these are stored', () => {
    const advice = 'ticketkeep probe URL --cert FILE --key FILE'
    expect(doctor({ TICKETKEEP_KEY: KEY }).stdout).not.toContain(advice)
    expect(doctor({ TICKETKEEP_KEY: KEY, TICKETKEEP_CLIENT_CERT: '1' }).stdout).toContain(advice)
  })

  it.skipIf(missingRoot() ?? runs('unshare', '--mount', 'true'))('exits 1 if the disk is full', () => {
    const script =
      'mount -t tmpfs -o size=16k tmpfs "$0" && { cat /dev/zero >"$0/fill" || exec "$@"; } 2>/dev/null'
    const folder = scratchDirectory()
    const { stdout, status } = spawnSync(
      'unshare',
      ['--mount', 'sh', '-c', script, folder, process.execPath, installed.cli, 'doctor', '--json'],
      { env: cleanEnv({ TICKETKEEP_KEY: KEY, TICKETKEEP_DIR: join(folder, 'tickets') }), encoding: 'utf8' },
    )
    expect(status).toBe(1)
    expect(JSON.parse(stdout).directory.problem).toBe(
      `the file system of ${folder} is full; name another directory in TICKETKEEP_DIR`,
    )
  })

  it('names the line of the shell of the user', () => {
    const line = (shell: string) => doctor({ TICKETKEEP_KEY: KEY, SHELL: shell }).stdout.split('\n')[1]
    expect(line('/usr/bin/fish')).toMatch(/; ticketkeep env --shell fish \| source does it$/)
    for (const shell of ['/bin/bash', '', '/opt/nofish'])
      expect(line(shell)).toMatch(/eval "\$\(ticketkeep env\)"/)
  })

  it('recognises its own preload in NODE_OPTIONS and that of another copy', () => {
    const words = (nodeOptions: string) =>
      /^switched on +(.*)$/m.exec(doctor({ TICKETKEEP_KEY: KEY, NODE_OPTIONS: nodeOptions }).stdout)?.[1]
    expect(words(`--require="${installed.preload}"`)).toBe('yes, NODE_OPTIONS loads it')
    const copy = join(scratchDirectory(), 'ticketkeep-preload.cjs')
    writeFileSync(copy, '')
    expect(words(`--require=${copy}`)).toBe(`yes, another copy: ${copy}`)
    expect(words('')).toMatch(/^not in this environment/)
  })
})
