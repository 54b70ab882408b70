// A real KWallet on its own screen, whose wallet is opened with the hash of a password, as pam_kwallet does at login.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { KeySettings } from '../../src/settings.ts'
import { startSecretService } from './keychains.ts'
import { type Missing, missingCommands } from './missing.ts'
import { endProcess, startScreen, until } from './screen.ts'

export function missingKWallet(): Missing {
  const missing = missingCommands('kwalletd5', 'Xvfb', 'xdotool', 'dbus-daemon', 'dbus-send', 'secret-tool')
  if (missing !== undefined) return missing
  const plugin = 'qca-qt5/crypto/libqca-ossl.so'
  if (readdirSync('/usr/lib').some((folder) => existsSync(join('/usr/lib', folder, plugin)))) return undefined
  return 'QCA has no OpenSSL plugin (apt-get install libqca-qt5-2-plugins)'
}

export interface KWallet {
  readonly settings: Partial<KeySettings>
  /** The titles of the visible windows. */
  windows(): string[]
  /** Stores something as a program does that accepts a prompt. The first one has the wallet unlocked. */
  unlock(): void
  close(): Promise<void>
}

const HASH = Array.from({ length: 56 }, (_, i) => i).join()

export async function startKWallet(): Promise<KWallet> {
  const bus = await startSecretService('none')
  const screen = await startScreen()
  const home = mkdtempSync(join(tmpdir(), 'ticketkeep-kwallet-'))
  mkdirSync(join(home, '.config'))
  writeFileSync(join(home, '.config', 'kwalletrc'), '[Wallet]\nEnabled=true\nFirst Use=false\n')
  const env = { ...process.env, ...bus.env, ...screen.env, HOME: home, XDG_RUNTIME_DIR: home }
  const run = (program: string, args: string[], input = '') =>
    spawnSync(program, args, { env, input, encoding: 'utf8' })
  const call = (...words: string[]) => run('dbus-send', ['--session', '--print-reply', ...words])
  const start = async () => {
    const daemon = spawn('kwalletd5', [], { env, stdio: 'ignore' })
    const owner = ['--dest=org.freedesktop.DBus', '/', 'org.freedesktop.DBus.GetNameOwner']
    const isThere = () => call(...owner, 'string:org.freedesktop.secrets').status === 0
    await until(isThere, 'kwalletd5 did not come up')
    const open = ['--dest=org.kde.kwalletd5', '/modules/kwalletd5', 'org.kde.KWallet.pamOpen']
    call(...open, 'string:kdewallet', `array:byte:${HASH}`, 'int32:0')
    return daemon
  }
  // The Secret Service shows only wallets that existed when the daemon started.
  await endProcess(await start())
  const daemon = await start()
  return {
    settings: { ...bus.settings, source: 'keychain' },
    windows: screen.windows,
    unlock() {
      const { status, stderr } = run('secret-tool', ['store', '--label=other', 'other', 'program'], 'secret')
      if (status !== 0) throw new Error(`the wallet was not unlocked: ${stderr}`)
    },
    async close() {
      await endProcess(daemon)
      await screen.close()
      await bus.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
