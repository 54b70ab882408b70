// A real KeePassXC on a screen of its own, whose windows a test can list.
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
  /** The titles of the windows that are to be seen. */
  windows(): string[]
  /** Calls the service as programs do that mind no window, and does not wait for its answer. */
  searchEverywhere(): void
  /** Has `secret-tool` look for an item of ours, and does not wait for what comes of it. */
  lookUp(): void
  close(): Promise<void>
}

/**
 * @param isLocked whether its one database is
 * @param isExposed whether a group of the database is shown to the Secret Service
 * @param attributes those of an item in that group; no programs has been let at it yet
 */
export async function startKeePassXC(
  isLocked: boolean,
  isExposed = true,
  attributes?: Readonly<Record<string, string>>,
): Promise<KeePassXC> {
  const bus = await startSecretService('none')
  const home = mkdtempSync(join(tmpdir(), 'ticketkeep-keepassxc-'))
  const screen = await startScreen()
  const { windows } = screen
  const env = { ...process.env, ...bus.env, ...screen.env, HOME: home }
  const run = (program: string, args: string[], input = '') =>
    spawnSync(program, args, { env, input, encoding: 'utf8' })
  configure(home)
  const database = makeDatabase(home, isExposed, attributes, run)
  const app = spawn('keepassxc', isLocked ? [database] : ['--pw-stdin', database], {
    env,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  app.stdin.end('password\n')
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

/** The group that is shown to the Secret Service stands in the custom data of a database. */
function makeDatabase(
  home: string,
  isExposed: boolean,
  attributes: Readonly<Record<string, string>> | undefined,
  run: (program: string, args: string[], input?: string) => { stdout: string; stderr: string },
): string {
  const [empty, xml, database] = ['empty.kdbx', 'empty.xml', 'database.kdbx'].map((name) => join(home, name))
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
