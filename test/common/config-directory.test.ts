import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { build } from 'esbuild'
import { beforeAll, expect, test } from 'vitest'
import { scratch } from '../support/directories.ts'
import { ROOT } from '../support/places.ts'

let ours: string
beforeAll(async () => {
  ours = join(scratch(), 'config-directory.cjs')
  await build({
    entryPoints: ['src/common/config-directory.ts'],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile: ours,
  })
})

/** Both directories as a process of this platform and environment computes them. */
function directories(platform: string, env: NodeJS.ProcessEnv) {
  const code = `
    Object.defineProperty(process, 'platform', { value: ${JSON.stringify(platform)} })
    const { configDirectory } = require(${JSON.stringify(ours)})
    import(${JSON.stringify(join(ROOT, 'node_modules', 'env-paths', 'index.js'))}).then(({ default: envPaths }) =>
      console.log(JSON.stringify([configDirectory(), envPaths('ticketkeep', { suffix: '' }).config])))`
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', code], {
    env: { PATH: process.env.PATH, ...env },
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  return JSON.parse(stdout)
}

test.each(['linux', 'freebsd', 'darwin', 'win32'])('the directory is that of env-paths on %s', (platform) => {
  for (const env of [
    { HOME: '/home/ann' },
    { HOME: '/home/ann', XDG_CONFIG_HOME: '/etc/ann', APPDATA: '/roaming/ann' },
    { HOME: '/home/ann', XDG_CONFIG_HOME: '', APPDATA: '' },
    {},
  ]) {
    const [own, theirs] = directories(platform, env)
    expect(own).toBe(theirs)
  }
})

test('there is no directory if the path is relative, since the working directory would decide', () => {
  expect(directories('linux', { HOME: '/home/ann', XDG_CONFIG_HOME: 'config' })[0]).toBe(null)
  expect(directories('linux', { HOME: 'ann' })[0]).toBe(null)
  expect(directories('linux', { HOME: '' })[0]).toBe(null)
})
