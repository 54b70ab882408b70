import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { userFolder } from '../../src/keys/user-folder.ts'
import { askInProcess, asUser, helperForEveryone, IN_SESSION_KEYRING } from '../support/keychains.ts'
import { describeWith, missingCommands, missingRoot } from '../support/missing.ts'

const USERS = ['tk-test-a', 'tk-test-b', 'tk-test-c'] as const
const missing = () => {
  if (process.platform !== 'linux') return 'there is no kernel keyring'
  const wanting = missingRoot() ?? missingCommands('useradd', 'userdel', 'setpriv', 'keyctl')
  if (wanting !== undefined) return wanting
  const others = spawnSync('setpriv', ['--reuid=65534', '--clear-groups', process.execPath, '--version'])
  return others.status === 0 ? undefined : 'other users cannot run this node'
}

describeWith(missing(), 'three users of one machine', () => {
  let folder: string
  let helper: string
  const settings = { source: 'kernel' as const }
  const login = (user: string) => [...asUser(user), ...IN_SESSION_KEYRING]
  beforeAll(() => {
    for (const user of USERS) execFileSync('useradd', ['--create-home', user])
    ;({ folder, helper } = helperForEveryone())
  })
  afterAll(() => {
    for (const user of USERS) {
      const purge = 'keyctl get_persistent @s; keyctl purge user'
      spawnSync('setpriv', [...login(user).slice(1), 'sh', '-c', `${purge} keyring:${user}@ticketkeep`])
      execFileSync('userdel', ['--remove', user], { stdio: 'ignore' })
    }
    rmSync(folder, { recursive: true, force: true })
  })

  test('have a key each, which no other user can read', async () => {
    const made = await Promise.all(
      USERS.map((user) => askInProcess({ settings, helper, task: 'create', within: login(user) })),
    )
    const keys = made.map((outcome) => Buffer.from(outcome!.keys!.current).toString('hex'))
    expect(new Set(keys).size).toBe(3)
    for (const [i, user] of USERS.entries()) {
      const again = await askInProcess({ settings, helper, within: login(user) })
      expect(Buffer.from(again!.keys!.current).toString('hex')).toBe(keys[i])
      const others = USERS.filter((other) => other !== user)
      for (const other of others) {
        const read = ['sh', '-c', `keyctl get_persistent @s; keyctl print %user:keyring:${user}@ticketkeep`]
        const tried = spawnSync('setpriv', [...login(other).slice(1), ...read], { encoding: 'latin1' })
        expect(tried.status).not.toBe(0)
      }
    }
  })

  test("do not use the first user's session keyring after a plain su", async () => {
    const within = [...IN_SESSION_KEYRING, ...asUser(USERS[1])]
    expect(await askInProcess({ settings, helper, task: 'create', within })).toMatchObject({
      keys: undefined,
      considered: [
        { state: 'refused', cause: 'not-our-session-keyring', reason: expect.stringMatching(/user 0's/) },
      ],
    })
  })

  test('get no file of root in their home when root has their HOME', () => {
    const home = join(folder, 'home')
    mkdirSync(home)
    const { HOME, XDG_CACHE_HOME, XDG_RUNTIME_DIR } = process.env
    Object.assign(process.env, { HOME: home, XDG_CACHE_HOME: home, XDG_RUNTIME_DIR: home })
    try {
      expect(userFolder()).toBeDefined()
    } finally {
      for (const [name, value] of Object.entries({ HOME, XDG_CACHE_HOME, XDG_RUNTIME_DIR })) {
        if (value === undefined) delete process.env[name]
        else process.env[name] = value
      }
    }
    expect(readdirSync(home)).toEqual([])
  })
})
