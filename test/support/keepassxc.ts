// A real KeePassXC on its own screen, whose windows a test can list.
import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KeySettings } from '../../src/settings.ts'
import { startSecretService } from './keychains.ts'
import { type Missing, missingCommands } from './missing.ts'
import { endProcess, startScreen, until } from './screen.ts'

export const missingKeePassXC = (): Missing =>
  missingCommands('keepassxc', 'keepassxc-cli', 'Xvfb', 'xdotool', 'dbus-daemon', 'dbus-send', 'secret-tool')

export interface KeePassXC {
  readonly settings: Partial<KeySettings>
  /** The titles of the visible windows. */
  windows(): string[]
  /** Calls the service as programs do that accept a window, and does not wait for the answer. */
  searchEverywhere(): void
  /** Lets `secret-tool` look for an item of ticketkeep, and does not wait for the result. */
  lookUp(): void
  close(): Promise<void>
}

export interface Databases {
  readonly isLocked?: boolean
  /** Whether a group of the database is exposed to the Secret Service. Default true. */
  readonly isExposed?: boolean
  /** Attributes of an item in that group. No program has been allowed to read it. */
  readonly attributes?: Readonly<Record<string, string>>
  /** Whether another database is open and unlocked, and exposes nothing. */
  readonly hasNeighbour?: boolean
}

export async function startKeePassXC(databases: Databases = {}): Promise<KeePassXC> {
  const { isLocked = false, isExposed = true, attributes, hasNeighbour = false } = databases
  const bus = await startSecretService('none')
  const home = mkdtempSync(join(tmpdir(), 'ticketkeep-keepassxc-'))
  const screen = await startScreen()
  const { windows } = screen
  const env = { ...process.env, ...bus.env, ...screen.env, HOME: home }
  const run = (program: string, args: string[], input = '') =>
    spawnSync(program, args, { env, input, encoding: 'utf8' })
  configure(home)
  const database = makeDatabase(home, 'database', isExposed, attributes, run)
  const neighbours = hasNeighbour ? [makeDatabase(home, 'neighbour', false, undefined, run)] : []
  const isAsked = hasNeighbour || !isLocked
  const app = spawn('keepassxc', [...(isAsked ? ['--pw-stdin'] : []), ...neighbours, database], {
    env,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // A password for each database, in order. A wrong one leaves the database locked.
  app.stdin.end(`${hasNeighbour ? 'password\n' : ''}${isLocked ? 'wrong' : 'password'}\n`)
  const title = isLocked ? 'database.kdbx [Locked] - KeePassXC' : 'database.kdbx - KeePassXC'
  await until(() => windows().includes(title), 'KeePassXC did not open its database')
  return {
    settings: { ...bus.settings, source: 'keychain' },
    windows,
    searchEverywhere() {
      const call = ['/org/freedesktop/secrets', 'org.freedesktop.Secret.Service.SearchItems']
      const service = ['--session', '--print-reply', '--dest=org.freedesktop.secrets']
      spawn('dbus-send', [...service, ...call, 'dict:string:string:a,b'], { env, stdio: 'ignore' })
    },
    lookUp() {
      spawn('secret-tool', ['lookup', 'service', 'ticketkeep'], { env, stdio: 'ignore' })
    },
    async close() {
      await endProcess(app)
      await screen.close()
      await bus.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

function configure(home: string): void {
  const folder = join(home, '.config', 'keepassxc')
  mkdirSync(folder, { recursive: true })
  const settings = [
    '[General]\nUpdateCheckMessageShown=true\nSingleInstance=false',
    '[GUI]\nCheckForUpdates=false',
    '[FdoSecrets]\nEnabled=true\nConfirmAccessItem=true',
  ]
  writeFileSync(join(folder, 'keepassxc.ini'), `${settings.join('\n')}\n`)
}

/** The custom data of a database names the group that is exposed to the Secret Service. */
function makeDatabase(
  home: string,
  name: string,
  isExposed: boolean,
  attributes: Readonly<Record<string, string>> | undefined,
  run: (program: string, args: string[], input?: string) => { stdout: string; stderr: string },
): string {
  const [empty, xml, database] = ['empty.kdbx', 'xml', 'kdbx'].map((end) => join(home, `${name}.${end}`))
  run('keepassxc-cli', ['db-create', '-p', empty!], 'password\npassword\n')
  const { stdout } = run('keepassxc-cli', ['export', empty!], 'password\n')
  const [, group = ''] = /<Group>\s*<UUID>(.*?)<\/UUID>/.exec(stdout) ?? []
  const uuid = Buffer.from(group, 'base64')
    .toString('hex')
    .replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '{$1-$2-$3-$4-$5}')
  const item = `<Item><Key>FDO_SECRETS_EXPOSED_GROUP</Key><Value>${uuid}</Value></Item>`
  const exposed = isExposed
    ? stdout.replace('<Binaries/>', `<Binaries/><CustomData>${item}</CustomData>`)
    : stdout
  const content = attributes ? exposed.replace('</Group>', `${entryOf(attributes)}</Group>`) : exposed
  writeFileSync(xml!, content)
  run('keepassxc-cli', ['import', '-p', xml!, database!], 'password\npassword\n')
  return database!
}

function entryOf(attributes: Readonly<Record<string, string>>): string {
  const fields = Object.entries({ Title: 'an item', Password: 'secret', ...attributes })
  const strings = fields.map(([key, value]) => `<String><Key>${key}</Key><Value>${value}</Value></String>`)
  return `<Entry><UUID>${randomBytes(16).toString('base64')}</UUID>${strings.join('')}</Entry>`
}
