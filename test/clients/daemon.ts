import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findCommand } from '../support/missing.ts'
import type { Identity } from '../support/pki.ts'
import { waitForPort } from '../support/ports.ts'

export interface Running {
  readonly port: number
  /** How many connections were resumed since the last call, by the log of the server. */
  readonly logged?: () => Promise<number>
  stop(): Promise<void>
}

/** The folder of one server, with its certificate. */
export interface Files {
  readonly folder: string
  /** Paths. */
  readonly cert: string
  readonly key: string
  /** The certificate and the key in one file. */
  readonly both: string
  /** The owner of the folder, if a server does not run as root. */
  readonly user: number | undefined
  path(name: string): string
  write(name: string, content: string): void
}

/** @param owner the user who runs the server, if it refuses to run as root */
export function createFolder({ cert, key }: Pick<Identity, 'cert' | 'key'>, owner?: string): Files {
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-server-'))
  const path = (name: string) => join(folder, name)
  const user = owner && process.getuid?.() === 0 ? userId(owner) : undefined
  const write = (name: string, content: string) => {
    writeFileSync(path(name), content, { mode: 0o600 })
    if (user !== undefined) chownSync(path(name), user, user)
  }
  chmodSync(folder, 0o755)
  if (user !== undefined) chownSync(folder, user, user)
  write('cert.pem', cert)
  write('key.pem', key)
  write('both.pem', cert + key)
  return { folder, cert: path('cert.pem'), key: path('key.pem'), both: path('both.pem'), user, path, write }
}

const userId = (name: string) => Number(spawnSync('id', ['-u', name], { encoding: 'utf8' }).stdout)

const asUser = (user: number | undefined) => (user === undefined ? {} : { uid: user, gid: user })

/** Runs a command to its end. @throws if it fails */
export function run([command = '', ...args]: string[], user?: number): void {
  const options = { encoding: 'utf8' as const, cwd: tmpdir(), ...asUser(user) }
  const { status, stderr, error } = spawnSync(findCommand(command) ?? command, args, options)
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`)
}

/** Starts a server in the foreground, which answers on `port`. */
export async function daemon(
  files: Files,
  port: number,
  [command = '', ...args]: string[],
  { env }: { env?: Record<string, string> } = {},
): Promise<Running & { output(): string }> {
  const child = spawn(findCommand(command) ?? command, args, {
    cwd: files.folder,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...asUser(files.user),
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (bytes) => (output += bytes))
  child.stderr.on('data', (bytes) => (errors += bytes))
  const ended = new Promise((done) => child.once('exit', done).once('error', done))
  const stop = async () => {
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
    await ended
    clearTimeout(timer)
    rmSync(files.folder, { recursive: true, force: true })
  }
  const isUp = await Promise.race([waitForPort(port, 60_000), ended.then(() => false)])
  if (!isUp) {
    await stop()
    throw new Error(`${command} did not start: ${errors || output}`)
  }
  return {
    port,
    stop,
    output: () => {
      const text = output
      output = ''
      return text
    },
  }
}
