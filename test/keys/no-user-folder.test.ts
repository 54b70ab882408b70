// If a key cannot be made, programs go on and the commands say why.
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { missingSecretService, type SecretServiceBus, startSecretService } from '../support/keychains.ts'
import { describeWith, runs } from '../support/missing.ts'
import { missingUsers, usePackageForEveryone, useUser } from '../support/users.ts'

const missingMounts = runs('unshare', '--mount', 'true') ? undefined : 'nothing can be mounted here'

describeWith(
  [missingSecretService(), missingUsers()],
  'a user whose folder for the lock cannot be written to',
  () => {
    const user = useUser('tk-test-folder')
    const pack = usePackageForEveryone()
    let bus: SecretServiceBus
    let tickets: string
    beforeAll(async () => {
      bus = await startSecretService('unlocked', user)
      tickets = mkdtempSync(join(tmpdir(), 'ticketkeep-test-'))
      chownSync(tickets, user.uid, user.uid)
    })
    afterAll(async () => {
      await bus?.close()
      rmSync(tickets, { recursive: true, force: true })
    })

    const ticketkeep = (...words: string[]) => {
      const [program, ...prefix] = user.prefix
      const env = { PATH: process.env.PATH, HOME: user.home, TICKETKEEP_DIR: tickets, ...bus.env }
      const args = [...prefix, pack.node(process.execPath), pack.cli, ...words]
      return spawnSync(program!, args, { env, encoding: 'utf8', cwd: '/' })
    }

    function expectNoKey(reason: RegExp) {
      const init = ticketkeep('init')
      expect(init).toMatchObject({ status: 1, stderr: expect.stringMatching(reason) })
      const status = JSON.parse(ticketkeep('status', '--json').stdout)
      const said = { source: 'keychain', available: false, reason: expect.stringMatching(reason) }
      expect(status).toMatchObject({ keeping: false, directory: { problem: null }, key: said })
      const { keeping, key } = JSON.parse(ticketkeep('doctor', '--json').stdout)
      const [keychain] = key.sources.filter(({ source }: { source: string }) => source === 'keychain')
      expect({ keeping, keychain }).toMatchObject({ keeping: false, keychain: { usable: false } })
      expect(keychain.reason).toMatch(reason)
    }

    test('gets no key if the home is read-only, and is told so', () => {
      chmodSync(user.home, 0o500)
      expectNoKey(
        /its lock needs a folder that only this user can write to|its lock needs .*, which cannot be written to/,
      )
      chmodSync(user.home, 0o700)
    })

    test('gets no key if others can write to the home, and is told so', () => {
      chmodSync(user.home, 0o770)
      expectNoKey(/its lock needs a folder that only this user can write to/)
      chmodSync(user.home, 0o700)
    })

    test('gets no key if the folder in the home is read-only, and is told so at once', () => {
      for (const folder of [join(user.home, '.cache'), join(user.home, '.cache', 'ticketkeep')]) {
        mkdirSync(folder, { mode: 0o700 })
        chownSync(folder, user.uid, user.uid)
      }
      chmodSync(join(user.home, '.cache', 'ticketkeep'), 0o500)
      expectNoKey(/ticketkeep( \(EACCES\)|, which cannot be written to)/)
      chmodSync(join(user.home, '.cache', 'ticketkeep'), 0o700)
    })

    test.skipIf(missingMounts !== undefined)('is told by init that the disk is full', () => {
      const folder = join(user.home, '.cache', 'ticketkeep')
      const options = `size=4k,nr_inodes=1,mode=700,uid=${user.uid}`
      spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder])
      const { status, stderr } = ticketkeep('init')
      spawnSync('umount', [folder])
      expect(stderr).toMatch(/the lock for making a key cannot be created in .*ticketkeep \(ENOSPC\)/)
      expect(status).toBe(1)
    })

    test('gets a key once it can be made, and the reason is forgotten', () => {
      expect(ticketkeep('init')).toMatchObject({ status: 0, stderr: '' })
      expect(JSON.parse(ticketkeep('status', '--json').stdout)).toMatchObject({
        keeping: true,
        key: { available: true },
      })
    })
  },
)
