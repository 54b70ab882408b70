import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { beforeAll } from 'vitest'
import { scratch } from './directories.ts'

/** Bundles a TypeScript module of the tests, with what it imports of `src`, into a CommonJS file for plain Node. */
export async function bundle(module: URL): Promise<string> {
  const outfile = join(scratch(), 'child.cjs')
  await build({
    entryPoints: [fileURLToPath(module)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20.19',
    external: ['@napi-rs/keyring'],
    logLevel: 'silent',
  })
  return outfile
}

/** The same for the tests of a file or a group. The path is set before the first of them runs. */
export function useBundle(module: URL): { readonly path: string } {
  const made = { path: '' }
  beforeAll(async () => {
    made.path = await bundle(module)
  })
  return made
}

/** The environment of the tests without the variables that decide where tickets and keys are. */
export function cleanEnv(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const env = { ...process.env, ...extra }
  for (const name of Object.keys(env)) {
    const isOurs = /^(TICKETKEEP_|AUBE_|NODE_EXTRA_CA_CERTS$|NODE_OPTIONS$|XDG_|VITEST)/.test(name)
    if (isOurs && !(name in extra)) delete env[name]
  }
  return env
}

/** A Node process whose standard output can be awaited. */
export interface Child {
  readonly process: ChildProcess
  readonly done: Promise<{
    code: number | null
    signal: NodeJS.Signals | null
    stdout: string
    stderr: string
  }>
}

export function node(
  script: string,
  args: readonly string[],
  env = cleanEnv(),
  command: string[] = [],
): Child {
  const [file, ...rest] = [...command, process.execPath, script, ...args]
  const child = spawn(file!, rest, { env, stdio: ['pipe', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output.stderr += text
  })
  child.stdin.on('error', () => {})
  return {
    process: child,
    done: once(child, 'close').then(([code, signal]) => ({ code, signal, ...output })),
  }
}

/** Starts all of them, waits until each has said that it is ready, and releases them at the same time. */
export async function atOnce(children: Child[]) {
  await Promise.all(children.map((child) => once(child.process.stdout!, 'data')))
  for (const child of children) child.process.stdin!.end('go')
  return Promise.all(children.map((child) => child.done))
}
