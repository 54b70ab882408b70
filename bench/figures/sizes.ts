import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ROOT } from '../../test/support/places.ts'
import type { Figure } from '../bench.ts'
import { PRECOMPILED } from '../packages.ts'

const MAX_LINES = 9_000
const MAX_BYTES = 1_000_000

/** Sizes do not vary between runs. */
export const sizes: Figure = {
  name: 'sizes',
  title: 'Size',
  async run() {
    const [installed, lines] = [packedSize(), linesOfSource()]
    const compiled = filesBelow(dirname(PRECOMPILED)).filter((path) => path.endsWith('.v8'))
    const nodes = new Set(compiled.map((path) => /\.(v[^-]+)-/.exec(path)?.[1]))
    const perNode = compiled.reduce((sum, path) => sum + statSync(path).size, 0) / nodes.size
    return {
      rows: [],
      notes: [
        `Installed, without the dependencies: ${kb(installed)} (${asked(installed, MAX_BYTES, kb)}).`,
        `Precompiled code for one Node: ${kb(perNode)}.`,
        `Lines of src: ${count(lines)} (${asked(lines, MAX_LINES, count)}).`,
      ],
    }
  },
}

const count = (value: number) => value.toLocaleString('en')
const kb = (bytes: number) => `${count(Math.round(bytes / 1000))} KB`

const asked = (value: number, most: number, show: (value: number) => string) =>
  `asked: at most ${show(most)}: ${value <= most ? 'yes' : '**no**'}`

function packedSize(): number {
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return (JSON.parse(packed)[0] as { unpackedSize: number }).unpackedSize
}

function linesOfSource(): number {
  const texts = filesBelow(join(ROOT, 'src')).map((path) => readFileSync(path, 'utf8'))
  return texts.reduce((sum, text) => sum + text.split('\n').length - 1, 0)
}

const filesBelow = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
