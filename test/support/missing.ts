import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { describe, type SuiteFactory } from 'vitest'
import { isInstalled, NODE_LINES, type NodeLine, nodeBinary } from './pinned.ts'

/** Why something cannot be tested on this machine, in one line. Undefined if it can. */
export type Missing = string | undefined

/**
 * A group of tests that need something on the machine. If that is missing, they are skipped, and the name of the group says why.
 */
export function describeWith(missing: Missing | readonly Missing[], name: string, tests: SuiteFactory) {
  const reason = [missing].flat().find((one) => one !== undefined)
  const title = reason === undefined ? name : `${name} (skipped: ${reason})`
  describe.skipIf(reason !== undefined)(title, tests)
}

/** The absolute path of a system command. The sbin folders are searched too, since Debian puts nginx there. */
export function findCommand(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, name)).find(existsSync)
}

const APT_PACKAGES: Record<string, string> = {
  nginx: 'nginx-light',
  haproxy: 'haproxy',
  caddy: 'caddy',
  'redis-server': 'redis-server',
  'valkey-server': 'valkey-server',
  'gnome-keyring-daemon': 'gnome-keyring',
  'dbus-run-session': 'dbus',
  'secret-tool': 'libsecret-tools',
  keyctl: 'keyutils',
  setcap: 'libcap2-bin',
  keepassxc: 'keepassxc',
  Xvfb: 'xvfb',
  xdotool: 'xdotool',
  kwalletd5: 'libkf5wallet-bin',
  chromium: 'chromium',
}

export function missingCommands(...names: string[]): Missing {
  const name = names.find((one) => findCommand(one) === undefined)
  return name && `${name} is not installed (apt-get install ${APT_PACKAGES[name] ?? name})`
}

const PERL_PACKAGES: Record<string, string> = { 'IO::Socket::SSL': 'libio-socket-ssl-perl' }

export function missingPerlModule(name: string): Missing {
  if (spawnSync('perl', [`-M${name}`, '-e', '1']).status === 0) return undefined
  return `the Perl module ${name} is not installed (apt-get install ${PERL_PACKAGES[name] ?? name})`
}

/** Why no process namespace, as containers have, can be made. */
export const missingUnshare = (): Missing =>
  spawnSync('unshare', ['--pid', '--fork', '--kill-child', 'true']).status === 0
    ? undefined
    : 'no process namespace can be made here'

const brokenNodes = new Map<NodeLine, Missing>()

/** A Node may be installed and not start: Node 26 needs libatomic, which a machine without a compiler may lack. */
export function missingNode(line: NodeLine): Missing {
  if (!isInstalled('nodes')) return 'the pinned Nodes are not installed'
  if (!existsSync(nodeBinary(line))) return `there is no Node ${line}`
  if (!brokenNodes.has(line)) {
    const { status, stderr } = spawnSync(nodeBinary(line), ['--version'], { encoding: 'utf8' })
    brokenNodes.set(line, status === 0 ? undefined : `Node ${line} does not start here: ${stderr.trim()}`)
  }
  return brokenNodes.get(line)
}

export function missingClients(): Missing {
  return isInstalled('clients') ? undefined : 'the pinned package managers are not installed'
}

/** Why this process may not become another user. */
export const missingRoot = (): Missing => (process.getuid?.() === 0 ? undefined : 'only root can do this')

/** Everything that tests lack on this machine, in a line each. */
export function whatIsMissing(): string[] {
  const commands = Object.keys(APT_PACKAGES).map((name) => missingCommands(name))
  const modules = Object.keys(PERL_PACKAGES).map(missingPerlModule)
  const missing = [...commands, ...modules, ...NODE_LINES.map(missingNode), missingClients(), missingRoot()]
  return [...new Set(missing)].filter((line) => line !== undefined)
}

/** Whether a command runs. Some are installed but forbidden, as `keyctl` is in many containers. */
export function runs(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}
