import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll } from 'vitest'

const made: string[] = []

afterAll(() => {
  for (const directory of made.splice(0)) rmSync(directory, { recursive: true, force: true })
})

/** A new directory of mode 0700, removed when the test file is done. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ticketkeep-test-'))
  chmodSync(directory, 0o700)
  made.push(directory)
  return directory
}

/** A path at which nothing exists. */
export const fresh = () => join(scratch(), 'tls-tickets')

/** The paths of the batches in a store's directory. */
export const ticketFiles = (directory: string) =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((path) => basename(path).endsWith('.json'))
    .map((path) => join(directory, path))

/** Whether the tests run as root, on a system with a root user. */
export const isRoot = process.geteuid?.() === 0
