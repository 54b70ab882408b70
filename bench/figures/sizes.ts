import { execFileSync } from 'node:child_process'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DIST, ROOT } from '../../test/support/places.ts'
import type { Figure } from '../bench.ts'

/** Not a matter of runs: what is installed, and what is added to it as V8's compiled code. */
export const sizes: Figure = {
  name: 'sizes',
  title: 'Size',
  async run() {
    const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const { unpackedSize } = JSON.parse(packed)[0] as { unpackedSize: number }
    const caches = readdirSync(DIST)
      .filter((name) => name.endsWith('.v8'))
      .map((name) => statSync(join(DIST, name)).size)
    const total = caches.reduce((sum, size) => sum + size, 0)
    const kb = (bytes: number) => `${Math.round(bytes / 1000)} KB`
    return {
      rows: [],
      notes: [
        `Installed, without the dependencies: ${kb(unpackedSize)} (asked: at most 1,000 KB).`,
        `Code compiled by V8, written beside it at the first use, a file or two for each version of Node: ` +
          `${kb(total)} in ${caches.length} files here.`,
      ],
    }
  },
}
