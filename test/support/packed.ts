import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildTypesIfMissing } from './build.ts'
import { ROOT } from './places.ts'

/** A project with the packed tarball installed, as users get it. */
export interface Project {
  readonly folder: string
  remove(): void
}

export function projectWithPackage(): Project {
  buildTypesIfMissing()
  const folder = mkdtempSync(join(tmpdir(), 'ticketkeep-project-'))
  const modules = join(folder, 'node_modules')
  mkdirSync(modules)
  // The tests have built dist.
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], { cwd: ROOT })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!
  execFileSync('tar', ['xzf', tarball], { cwd: folder })
  renameSync(join(folder, 'package'), join(modules, 'ticketkeep'))
  for (const name of ['tweetnacl', '@napi-rs', '@types', 'undici-types']) {
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
