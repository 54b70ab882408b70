import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CLI } from './places.ts'
import { exampleProgram, type Sandbox } from './run-program.ts'

/** What `npm` does not do here, and why. Any other `npm` stands for a program that makes one connection. */
const NOT_DONE_BY_NPM: Record<string, string> = {
  install: 'it needs the registry. `e2e/consumers` has the packed tarball, and `e2e/npm-install` a real npm',
  rm: 'nothing was installed. `cli/setup` removes the package of a shell that has it in NODE_OPTIONS',
}

/** A PATH with `ticketkeep`, `npm`, and `visit`, a program that makes one connection to the URL. */
export function pathWithCommands(sandbox: Sandbox, url: string, more: Record<string, string> = {}): string {
  const bin = join(sandbox.directory, 'bin')
  mkdirSync(bin)
  const visit = `exec "${process.execPath}" "${exampleProgram('https-get.cjs')}" "${url}"`
  const scripts = {
    ticketkeep: `exec "${process.execPath}" "${CLI}" "$@"`,
    npm: `case "$1" in ${Object.keys(NOT_DONE_BY_NPM).join('|')}) exit 0; esac\n${visit}`,
    visit,
    ...more,
  }
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
    chmodSync(join(bin, name), 0o755)
  }
  return `${bin}:${process.env.PATH}`
}
