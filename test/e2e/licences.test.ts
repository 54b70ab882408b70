import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DIST, ROOT } from '../support/places.ts'

/** The packages that the build has bundled: those that esbuild names in comments, and tweetnacl, which is minified. */
function inlined(): string[] {
  const sources = readdirSync(DIST, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.c?js$/.test(file))
    .map((file) => readFileSync(join(DIST, file), 'utf8'))
  const noted = sources.flatMap((text) => [
    ...text.matchAll(/^\/\/ .*node_modules\/((?:@[^/]+\/)?[^/]+)\//gm),
  ])
  const isRequired = sources.some((text) => /require\("tweetnacl/.test(text))
  return [...new Set([...noted.map(([, name]) => name!), ...(isRequired ? [] : ['tweetnacl'])])]
}

describe('the tarball of the package', () => {
  it('contains the licence of every package whose code it bundles', () => {
    const packed = JSON.parse(
      execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
        cwd: ROOT,
        encoding: 'utf8',
      }),
    )
    const files = (Array.isArray(packed) ? packed : Object.values(packed)) as { files: { path: string }[] }[]
    const licences = files[0]!.files
      .map(({ path }) => path)
      .filter((path) => /licen[cs]e|notice/i.test(path) && path !== 'LICENSE')
      .map((path) => readFileSync(join(ROOT, path), 'utf8'))
      .join('\n')
    for (const name of inlined()) expect(licences).toContain(name)
  })
})
