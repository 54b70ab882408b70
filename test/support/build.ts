import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { CLI, DIST, PRELOAD, ROOT } from './places.ts'

/** Builds `dist/` if something in `src/` or the build itself is newer. @throws with the output of the build */
export function buildIfStale(): void {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  const steps = readdirSync(ROOT).filter((name) => name.startsWith('esbuild.'))
  const inputs = [...sources.map((name) => join('src', name)), ...steps, 'package-lock.json']
  const newest = Math.max(...inputs.map((name) => changedAt(join(ROOT, name))))
  if (Math.min(changedAt(PRELOAD), changedAt(CLI)) > newest) return
  run(process.execPath, 'esbuild.config.mjs')
}

/** Builds the types of the library. That takes longer than all the rest, and only tests of the package need them. */
export function buildTypesIfMissing(): void {
  if (!existsSync(join(DIST, 'index.d.cts'))) run('npm', 'run', 'types')
}

function run(command: string, ...args: string[]): void {
  const shell = process.platform === 'win32'
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8', shell })
  if (status !== 0) throw new Error(`the build failed:\n${stdout}${stderr}`)
}

const changedAt = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
