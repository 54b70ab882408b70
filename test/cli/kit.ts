import {
  type ChildProcess,
  type SpawnSyncOptionsWithStringEncoding,
  spawn,
  spawnSync,
} from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { DIST, ROOT } from '../support/places.ts'

const scratch = mkdtempSync(join(tmpdir(), 'ticketkeep-cli-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

export interface Installed {
  readonly directory: string
  readonly cli: string
  readonly preload: string
}

/** A preload that counts itself in the process that loads it. */
export const MARKING_PRELOAD = 'globalThis.preloads = (globalThis.preloads ?? 0) + 1'

/** The package as npm installs it, in a directory of any name, with a preload for tests. */
export async function install(name = 'plain', preload = MARKING_PRELOAD): Promise<Installed> {
  const directory = join(mkdtempSync(join(scratch, 'i-')), name)
  mkdirSync(directory)
  cpSync(DIST, join(directory, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(directory, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'))
  const installed = {
    directory,
    cli: join(directory, 'dist', 'cli.js'),
    preload: join(directory, 'dist', 'preload.cjs'),
  }
  writeFileSync(installed.preload, preload)
  return installed
}

/** The same for the tests of a file. The object is filled before the first test runs. */
export function useInstalled(): Installed {
  const installed = {} as Installed
  beforeAll(async () => {
    Object.assign(installed, await install())
  })
  return installed
}

/** An environment without settings of this machine: no proxies, no extra CAs, no ticketkeep. */
export function cleanEnv(extra: Record<string, string | undefined> = {}): NodeJS.ProcessEnv {
  const config = join(extra.HOME ?? scratch, '.config')
  const env: NodeJS.ProcessEnv = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    // Otherwise the files of root would be in /etc, and those of the user who runs the tests in their home.
    XDG_CONFIG_HOME: config,
    LANG: 'C.UTF-8',
    ...extra,
  }
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined))
}

/** Runs `ticketkeep` and waits for it to end. */
export function ticketkeep(
  { cli }: Installed,
  args: readonly string[],
  options: Partial<SpawnSyncOptionsWithStringEncoding> & { node?: string } = {},
) {
  const { node = process.execPath, ...rest } = options
  return spawnSync(node, [cli, ...args], { encoding: 'utf8', env: cleanEnv(), timeout: 30_000, ...rest })
}

/** Starts `ticketkeep`; resolves with its end. */
export function start(
  { cli }: Installed,
  args: readonly string[],
  env = cleanEnv(),
  node = process.execPath,
) {
  const child: ChildProcess = spawn(node, [cli, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (data) => (stdout += data))
  child.stderr?.on('data', (data) => (stderr += data))
  const ended = new Promise<{ code: number | null; signal: string | null; stdout: string; stderr: string }>(
    (resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })),
  )
  const said = async (text: string) => {
    while (!stdout.includes(text)) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  return { child, ended, said }
}

/** The first of these programs that the machine has. */
export function which(program: string): string | undefined {
  const found = (process.env.PATH ?? '').split(':').map((directory) => join(directory, program))
  return found.find((path) => existsSync(path))
}

export function scratchDirectory(): string {
  return mkdtempSync(join(scratch, 'd-'))
}
