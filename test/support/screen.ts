import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** A screen for the test, for keychains that have windows. Needs Xvfb and xdotool. */
export interface Screen {
  readonly env: { readonly DISPLAY: string }
  /** The titles of the visible windows. */
  windows(): string[]
  close(): Promise<void>
}

export async function startScreen(): Promise<Screen> {
  const server = spawn('Xvfb', ['-displayfd', '1', '-screen', '0', '800x600x16', '-nolisten', 'tcp'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [display] = await once(server.stdout, 'data')
  const env = { DISPLAY: `:${String(display).trim()}` }
  return {
    env,
    windows() {
      const { stdout } = spawnSync(
        'xdotool',
        ['search', '--onlyvisible', '--name', '.+', 'getwindowname', '%@'],
        { env: { ...process.env, ...env }, encoding: 'utf8' },
      )
      return [...new Set(stdout.split('\n').filter((title) => title !== ''))].sort()
    },
    close: () => endProcess(server),
  }
}

export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

export async function until(isTrue: () => boolean, otherwise: string): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (isTrue()) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(otherwise)
}
