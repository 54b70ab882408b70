import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import {
  askInProcess,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { CACHE } from '../support/places.ts'

/** Fetches the key, begins to make it, and calls process.exit() at once, as short commands do. */
const SHORT_PROGRAM = `
  const { fetchKeys, createKeysSoon } = require('./chain.cjs')
  const settings = { source: 'auto', sessionBus: process.env.DBUS_SESSION_BUS_ADDRESS }
  let giveUp = fetchKeys(settings, (outcome) => {
    console.log(outcome.source, outcome.creatable)
    if (outcome.creatable) giveUp = createKeysSoon(settings, () => console.log('made'))
    process.exit(7)
  })
  process.on('exit', () => giveUp())
  setTimeout(() => {}, 10_000)`

describeWith(missingSecretService(), 'a program that ends before its key is made', () => {
  // Inside the package, since its files find each other by its name.
  let folder: string
  let bus: SecretServiceBus
  beforeAll(async () => {
    folder = mkdtempSync(join(CACHE, 'keys-'))
    await build({
      entryPoints: ['src/keys/chain.ts'],
      bundle: true,
      platform: 'node',
      format: 'cjs',
      outfile: join(folder, 'chain.cjs'),
      packages: 'external',
    })
    writeFileSync(join(folder, 'program.cjs'), SHORT_PROGRAM)
  })
  afterEach(() => bus.close())
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each(NODE_LINES.filter((line) => missingNode(line) === undefined))(
    'leaves that to a helper and finds the key in its next run, on Node %s',
    async (line) => {
      bus = await startSecretService('unlocked')
      const run = () =>
        spawnSync(nodeBinary(line), [join(folder, 'program.cjs')], {
          env: { PATH: process.env.PATH, HOME: process.env.HOME, ...bus.env },
          encoding: 'utf8',
        })
      const ended = { status: 7, signal: null, stderr: '' }
      expect(run()).toMatchObject({ ...ended, stdout: 'keychain true\n' })
      const settings = { ...bus.settings, source: 'keychain' as const }
      await expect
        .poll(async () => (await askInProcess({ settings }))?.keys?.current.length, { timeout: 20_000 })
        .toBe(32)
      expect(run()).toMatchObject({ ...ended, stdout: 'keychain false\n' })
      expect(bus.search().match(/^attribute\.service = ticketkeep$/gm)).toHaveLength(1)
    },
  )
})
