import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from './support/places.ts'

// docs/reference.md is what the doc comments say. `typedoc.json` makes typedoc fail where an export, a member or a parameter has
// no doc comment, and where a type is named that is not exported.

it('docs/reference.md is made from the doc comments, and nothing public lacks one', () => {
  const out = mkdtempSync(join(tmpdir(), 'ticketkeep-reference-'))
  try {
    const typedoc = join(ROOT, 'node_modules/typedoc/bin/typedoc')
    const { status, stdout, stderr } = spawnSync(process.execPath, [typedoc, '--out', out], {
      cwd: ROOT,
      encoding: 'utf8',
    })
    expect({ status, said: status === 0 ? '' : stdout + stderr }).toEqual({ status: 0, said: '' })
    const [committed, made] = [join(ROOT, 'docs'), out].map((folder) =>
      readFileSync(join(folder, 'reference.md'), 'utf8'),
    )
    expect(committed, 'write it with: npm run reference').toBe(made)
  } finally {
    rmSync(out, { recursive: true, force: true })
  }
})
