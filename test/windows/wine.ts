import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { findCommand, type Missing, missingCommands } from '../support/missing.ts'
import { folderOf, install } from '../support/pinned.ts'
import { ROOT } from '../support/places.ts'

export function missingWindows(): Missing {
  if (process.platform !== 'linux') return 'Wine runs on Linux here'
  if (!findCommand('wine64') && !findCommand('wine'))
    return 'wine is not installed (apt-get install wine wine64)'
  return missingCommands('x86_64-w64-mingw32-gcc') ?? install('windows')
}

/** The words before a script and its arguments that run it on a Windows machine, and their environment. */
export const onWindows = {
  command: [join(ROOT, 'test/support/windows.sh'), folderOf('windows')],
  // Its links lead out of the folder, and what checks the package walks all folders but this one.
  prefix: join(ROOT, 'node_modules/.cache/wine'),
} as const

/** A path of this machine as Wine shows it. */
export const windowsPath = (path: string) => `Z:${path.replaceAll('/', '\\')}`

/** Bundles a program of this folder into one file. */
export async function bundleForWindows(name: 'keys' | 'store', folder: string): Promise<string> {
  const outfile = join(folder, `${name}.mjs`)
  // Native modules are loaded from beside the bundle.
  cpSync(join(folderOf('windows'), 'node_modules/@napi-rs'), join(folder, 'node_modules/@napi-rs'), {
    recursive: true,
  })
  await build({
    entryPoints: [join(ROOT, `test/windows/${name}.ts`)],
    bundle: true,
    platform: 'node',
    format: 'esm',
    external: ['@napi-rs/keyring', 'vitest'],
    banner: {
      js: "import{createRequire as __cr}from'node:module';const{filename:__filename}=import.meta,require=__cr(__filename);",
    },
    outfile,
    logLevel: 'silent',
  })
  return outfile
}
