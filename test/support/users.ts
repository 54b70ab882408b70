import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, copyFileSync, cpSync, existsSync, linkSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { type Missing, missingCommands, missingRoot } from './missing.ts'
import { DIST, ROOT } from './places.ts'

/** A user of this machine with their own home, keyrings and processes. */
export interface TestUser {
  readonly name: string
  readonly uid: number
  readonly home: string
  /** Words before a command. */
  readonly prefix: readonly string[]
  /** Removes a complete or half-made key of ticketkeep from the user's kernel keyrings. */
  purgeKeyring(): Promise<void>
  remove(): Promise<void>
}

/** Words before a command, which then runs as another user without a login, like a plain `su`. */
export const asUser = (name: string) =>
  ['setpriv', `--reuid=${name}`, `--regid=${name}`, '--clear-groups'] as const

/** Why users cannot be made, or cannot run this Node. */
export function missingUsers(): Missing {
  const wanting = missingRoot() ?? missingCommands('useradd', 'userdel', 'setpriv')
  if (wanting !== undefined) return wanting
  const others = spawnSync('setpriv', ['--reuid=65534', '--clear-groups', process.execPath, '--version'])
  return others.status === 0 ? undefined : 'other users cannot run this node'
}

/** Needs root. The name gets a random suffix, since tests run at the same time. */
export async function makeUser(given: string): Promise<TestUser> {
  const name = `${given}-${randomBytes(3).toString('hex')}`
  await whileLocked('useradd', '--create-home', name)
  const id = (flag: string) => spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout.trim()
  const passwd = spawnSync('getent', ['passwd', name], { encoding: 'utf8' }).stdout.split(':')
  const [setpriv, ...prefix] = asUser(name)
  const run = (...words: string[]) => spawnSync(setpriv, [...prefix, ...words], { encoding: 'utf8' }).stdout
  const key = `keyring:${name}@ticketkeep`
  const user = {
    name,
    uid: Number(id('-u')),
    home: passwd[5]!,
    prefix: asUser(name),
    async purgeKeyring() {
      const purge = `keyctl purge user ${key}`
      run('sh', '-c', purge)
      run('keyctl', 'session', '-', 'sh', '-c', `keyctl get_persistent @s; ${purge}`)
      // The kernel needs a moment.
      for (let i = 0; i < 100 && run('cat', '/proc/keys').includes(key); i++) await pause(20)
    },
    async remove() {
      await user.purgeKeyring()
      await whileLocked('userdel', '--remove', name)
    },
  }
  return user
}

/** A user for the tests of a file or a group, removed after the last one. The object is filled before the first one runs. */
export function useUser(name: string, make: (name: string) => Promise<TestUser> = makeUser): TestUser {
  const user = {} as TestUser
  beforeAll(async () => {
    Object.assign(user, await make(name))
  })
  afterAll(() => user.remove?.())
  return user
}

/** A new user, or the one who runs the tests if no user can be made. */
export const makeUserIfPossible = async (name: string): Promise<TestUser> =>
  missingUsers() === undefined ? makeUser(name) : thisUser()

/** The user who runs the tests. */
export function thisUser(): TestUser {
  const { username, uid, homedir } = userInfo()
  return {
    name: username,
    uid,
    home: homedir,
    prefix: [],
    purgeKeyring: async () => {},
    remove: async () => {},
  }
}

/** Only one process at a time can make or remove users, and other tests do so at the same time. */
async function whileLocked(command: string, ...args: string[]): Promise<void> {
  for (let i = 0; ; i++) {
    const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
    if (status === 0) return
    if (i === 20 || !/lock|currently used/.test(stderr)) throw new Error(`${command}: ${stderr}`)
    await pause(250)
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

export interface EveryonesPackage {
  readonly folder: string
  readonly preload: string
  readonly cli: string
  /** A copy of this Node that every user can run, since the checkout may be in a folder that only its owner can enter. */
  node(binary: string): string
  remove(): void
}

/** A copy of the built package that every user can read. */
export function packageForEveryone(): EveryonesPackage {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-package-'))
  chmodSync(folder, 0o755)
  const names = [
    'package.json',
    ...['@napi-rs', 'tweetnacl', 'zod'].map((name) => join('node_modules', name)),
  ]
  for (const name of names) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  const dist = join(folder, 'dist')
  cpSync(DIST, dist, { recursive: true })
  return {
    folder,
    preload: join(dist, 'preload.cjs'),
    cli: join(dist, 'cli.js'),
    node(binary) {
      const own = join(folder, `node-${createHash('sha256').update(binary).digest('hex').slice(0, 8)}`)
      if (existsSync(own)) return own
      try {
        linkSync(binary, own)
      } catch {
        copyFileSync(binary, own)
      }
      return own
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** The same for the tests of a file or a group, removed after the last one. The object is filled before the first one runs. */
export function usePackageForEveryone(): EveryonesPackage {
  const pack = {} as EveryonesPackage
  beforeAll(() => {
    Object.assign(pack, packageForEveryone())
  })
  afterAll(() => pack.remove?.())
  return pack
}
