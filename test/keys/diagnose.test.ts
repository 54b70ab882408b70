import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { diagnoseKeys } from '../../src/keys/diagnose.ts'
import type { KeySettings } from '../../src/settings.ts'
import { scratch } from '../support/directories.ts'
import {
  KEY_TEXT,
  keySettings,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../support/keychains.ts'
import { describeWith, missingRoot } from '../support/missing.ts'

const folder = scratch()

const NOTHING = { runtimeDirectory: '/nonexistent', sessionBus: 'unix:path=/nonexistent/bus' }

/** What the doctor says about one source. */
async function on(source: string, given: Partial<KeySettings>) {
  const { sources, ...whole } = await diagnoseKeys(keySettings({ ...NOTHING, ...given }))
  const one = sources.find((s) => s.source === source)!
  return { ...whole, ...one, advice: one.advice.join(' '), sources }
}

function file(mode: number, content = KEY_TEXT) {
  const path = join(folder, `key-${Math.random()}`)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}

describe('the doctor', () => {
  test('lists what could be set and says that tickets are not kept if there is no key', async () => {
    const { chosen, kept, sources } = await diagnoseKeys(keySettings({ ...NOTHING, source: 'auto' }))
    expect(sources.map((s) => s.source)).toEqual([
      'variable',
      'file',
      'command',
      'systemd',
      'keychain',
      'kernel',
      'memory',
    ])
    if (sources[5]!.usable) return
    expect({ chosen, kept }).toEqual({ chosen: 'memory', kept: false })
    const advice = sources.flatMap((s) => s.advice).join('\n')
    for (const word of [
      'TICKETKEEP_KEY_FILE',
      'Docker',
      'Kubernetes',
      'vault',
      'LoadCredentialEncrypted=',
      'loginctl enable-linger',
      'pam_keyinit',
    ]) {
      expect(advice).toContain(word)
    }
  })

  test('reports a key in the variable as used and recommends a file', async () => {
    expect(await on('variable', { variable: KEY_TEXT })).toMatchObject({
      chosen: true,
      kept: true,
      usable: true,
      advice: expect.stringMatching(/child process.*TICKETKEEP_KEY_FILE/s),
    })
  })

  test.each([
    ['with the wrong mode', () => file(0o644), /chmod 600/],
    ['that is too short', () => file(0o600, 'c2hvcnQ='), /8 characters/],
    ['that is missing', () => join(folder, 'none'), /does not exist/],
  ])('says that a key file %s ends the search', async (_, path, reason) => {
    const words = {
      usable: false,
      chosen: true,
      kept: false,
      reason: expect.stringMatching(reason),
      advice: expect.stringMatching(/./),
    }
    const command = `echo ${KEY_TEXT}`
    expect(await on('file', { file: path(), command })).toMatchObject(words)
    expect(await on('file', { file: path(), source: 'file' })).toMatchObject(words)
  })

  test.skipIf(missingRoot() !== undefined)('refuses the key file of another user', async () => {
    const path = file(0o600)
    chownSync(path, 65534, 65534)
    expect(await on('file', { file: path })).toMatchObject({
      usable: false,
      reason: expect.stringMatching(/belongs to/),
    })
  })

  test.each([
    ['gives a key', `echo ${KEY_TEXT}`, true, /gave it/],
    ['fails', 'false', false, /exit status 1/],
    ['prints something else', 'echo nonsense', false, /not a key/],
    ['does not exist', 'no-such-program-here', false, /ENOENT/],
  ])('explains a key command that %s', async (_, command, usable, reason) => {
    expect(await on('command', { command })).toMatchObject({ usable, reason: expect.stringMatching(reason) })
  })

  test('explains a systemd credential', async () => {
    const credentialsDirectory = join(folder, 'credentials')
    mkdirSync(credentialsDirectory)
    expect(await on('systemd', { credentialsDirectory })).toMatchObject({
      usable: false,
      advice: expect.stringMatching(/systemd-creds encrypt/),
    })
    writeFileSync(join(credentialsDirectory, 'ticketkeep.key'), KEY_TEXT, { mode: 0o400 })
    expect(await on('systemd', { credentialsDirectory })).toMatchObject({ usable: true, kept: true })
  })

  test('asks every source and still chooses the first usable one', async () => {
    const { chosen, sources } = await diagnoseKeys(
      keySettings({ ...NOTHING, variable: KEY_TEXT, file: file(0o600) }),
    )
    expect(chosen).toBe('variable')
    expect(sources.filter((s) => s.usable && s.source !== 'kernel').map((s) => s.source)).toEqual([
      'variable',
      'file',
    ])
    expect(sources.filter((s) => s.chosen)).toHaveLength(1)
  })

  describeWith(missingSecretService(), 'with a Secret Service', () => {
    let bus: SecretServiceBus
    afterEach(async () => {
      bus.daemon?.kill('SIGCONT')
      await bus.close()
    })

    test('says that an unlocked one could hold a key', async () => {
      bus = await startSecretService('unlocked')
      expect(await on('keychain', bus.settings)).toMatchObject({
        usable: true,
        chosen: true,
        kept: true,
        state: 'absent',
      })
    })

    test('says how to unlock or start one without a desktop if it is locked, empty or missing', async () => {
      bus = await startSecretService('unlocked')
      bus.lock()
      expect(await on('keychain', bus.settings)).toMatchObject({
        usable: false,
        reason: 'the Secret Service is locked',
        advice: expect.stringMatching(/gnome-keyring-daemon --unlock/),
      })
      await bus.close()
      bus = await startSecretService('virgin')
      expect((await on('keychain', bus.settings)).advice).toMatch(/gnome-keyring-daemon --unlock/)
      await bus.close()
      bus = await startSecretService('none')
      expect((await on('keychain', bus.settings)).advice).toMatch(/gnome-keyring-daemon --start/)
    })

    test('says that a stopped one does not answer', async () => {
      bus = await startSecretService('unlocked')
      bus.daemon!.kill('SIGSTOP')
      expect(await on('keychain', bus.settings)).toMatchObject({
        usable: false,
        reason: 'no answer came over the session bus within 3 s',
        advice: expect.stringMatching(/do not wait for it/),
      })
    })
  })
})
