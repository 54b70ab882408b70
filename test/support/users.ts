import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, copyFileSync, cpSync, existsSync, linkSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { type Missing, missingCommands, missingRoot } from './missing.ts'
import { DIST, ROOT } from './places.ts'

/** A user of this machine with a home, keyrings and processes of their own. */
export interface TestUser {
  readonly name: string
  readonly uid: number
  readonly home: string
  /** Words before a command. */
  readonly prefix: readonly string[]
  /** Takes a key of ticketkeep, whole or half made, out of the user's keyrings in the kernel. */
  purgeKeyring(): Promise<void>
  remove(): Promise<void>
}

/** As another user, without the rest of a login: what a plain `su` leaves as it was, this leaves as it was. */
export const asUser = (name: string) =>
  ['setpriv', `--reuid=${name}`, `--regid=${name}`, '--clear-groups'] as const

/** Whether users can be made, and then run this node. */
export function missingUsers(): Missing {
  const wanting = missingRoot() ?? missingCommands('useradd', 'userdel', 'setpriv')
  if (wanting !== undefined) return wanting
  const others = spawnSync('setpriv', ['--reuid=65534', '--clear-groups', process.execPath, '--version'])
  return others.status === 0 ? undefined : 'other users cannot run this node'
}

/** Needs root. The name gets something random behind it, for test runs at the same time. */
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
      // The kernel takes a moment for it.
      for (let i = 0; i < 100 && run('cat', '/proc/keys').includes(key); i++) await pause(20)
    },
    async remove() {
      await user.purgeKeyring()
      await whileLocked('userdel', '--remove', name)
    },
  }
  return user
}

/** Who runs the tests. */
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

/** Other tests make and remove users at the same time, and one at a time can. */
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
  /** The same Node where every user can run it: a checkout may lie in a folder that only its owner can enter. */
  node(binary: string): string
  remove(): void
}

/** The built package where every user can read it. */
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
