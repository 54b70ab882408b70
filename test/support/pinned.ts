import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CACHE, ROOT } from './places.ts'

/** Sets of npm packages that the tests run but do not import, each with its own lock file. */
export type PinnedSet = 'nodes' | 'clients' | 'libraries' | 'runtimes' | 'patches' | 'windows' | 'bundlers'

export const NODE_LINES = ['20', '22', '24', '26'] as const
/** The last versions of 22 and 24 with raw session bytes (before CVE-2026-48934 was fixed). */
export const OLDER_NODES = ['22.22', '24.16'] as const

export type NodeLine = (typeof NODE_LINES)[number] | (typeof OLDER_NODES)[number]

/** The path of a real Node of this line, whether it is installed or not. */
export const nodeBinary = (line: NodeLine) =>
  join(CACHE, 'nodes', 'node_modules', `node-${line}`, 'bin', 'node')

/** The entry point of a pinned client. */
export const clientScript = (path: string) => join(CACHE, 'clients', 'node_modules', path)

/** The folder into which a set is installed. */
export const folderOf = (set: PinnedSet) => join(CACHE, set)

const lockOf = (set: PinnedSet) => join(ROOT, 'test/support/pinned', set, 'package-lock.json')
const markOf = (set: PinnedSet) => join(CACHE, set, '.installed')

export function isInstalled(set: PinnedSet): boolean {
  return existsSync(markOf(set)) && readFileSync(markOf(set)).equals(readFileSync(lockOf(set)))
}

/**
 * Installs a set once into the cache folder, exactly as locked.
 * @returns in a line why that is impossible here, or undefined
 */
export function install(set: PinnedSet): string | undefined {
  if (isInstalled(set)) return undefined
  if (set === 'nodes' && `${process.platform}-${process.arch}` !== 'linux-x64') {
    return `no pinned Nodes for ${process.platform}-${process.arch}`
  }
  const folder = join(CACHE, set)
  mkdirSync(folder, { recursive: true })
  for (const file of ['package.json', 'package-lock.json']) {
    copyFileSync(join(ROOT, 'test/support/pinned', set, file), join(folder, file))
  }
  const { command, args } = npm()
  const npmCi = [
    ...args,
    // `npm ci` refuses a lock without the packages of platforms that the registry does not have.
    set === 'runtimes' ? 'install' : 'ci',
    '--ignore-scripts',
    '--no-bin-links',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    // made for another platform than this one
    ...(set === 'windows' ? ['--force'] : []),
  ]
  const { status, stderr, error } = spawnSync(command, npmCi, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) {
    const lines = (error?.message ?? stderr).split('\n')
    return `npm could not install the pinned ${set}: ${lines.find((line) => line !== '') ?? 'no reason given'}`
  }
  writeFileSync(markOf(set), readFileSync(lockOf(set)))
  return undefined
}

function npm(): { command: string; args: string[] } {
  const script = process.env.npm_execpath
  return script?.endsWith('npm-cli.js')
    ? { command: process.execPath, args: [script] }
    : { command: 'npm', args: [] }
}
