import { spawnSync } from 'node:child_process'
import { readdirSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Command, Failure } from '../command.ts'
import { packagePreload } from '../preload-path.ts'
import { bytes, count } from '../render.ts'

/**
 * `--json`: `{ "folder": "/…/dist", "kept": [{ "node": "/usr/bin/node", "version": "v24.21.0", "arch": "x64",
 * "bytes": 480000 }], "removed": 0 }`
 */
export const command: Command = {
  usage: 'precompile [NODE...] [--remove] [--json]',
  help: `
Stores the code that V8 compiles from ticketkeep inside the package, for each Node that is named (a path;
default: the one that runs this command). Programs that make a TLS connection then start some milliseconds
faster. Only the owner of the package can do this, and only with this command: programs never write the
code. After an update of Node or of ticketkeep, Node ignores the code until the command is run again.
Removing the package also removes the code.`,
  options: { remove: { type: 'boolean', about: 'delete the kept code' } },
  operands: [0, Number.POSITIVE_INFINITY],
  completes: 'files',
  run({ operands, options }) {
    const folder = distFolder()
    requireOwner(folder)
    if (options.remove) {
      const names = readdirSync(folder).filter((name) => name.endsWith('.v8'))
      for (const name of names) rmSync(join(folder, name))
      return {
        json: { folder, kept: [], removed: names.length },
        text: [`Removed ${count(names.length, 'file')}.`],
      }
    }
    const nodes = operands.length > 0 ? operands : [process.execPath]
    const kept = nodes.map(precompileFor)
    const text = kept.map(
      ({ version, arch, bytes: size }) => `Node ${version} (${arch}): ${bytes(size)} kept.`,
    )
    return { json: { folder, kept, removed: 0 }, text }
  },
}

interface Kept {
  readonly node: string
  readonly version: string
  readonly arch: string
  readonly bytes: number
}

function precompileFor(node: string): Kept {
  const { NODE_OPTIONS: _, ...env } = process.env
  const { stdout, stderr, error, status } = spawnSync(node, [join(distFolder(), 'precompile.cjs')], {
    env,
    encoding: 'utf8',
  })
  if (error || status !== 0) {
    const reason = error
      ? error.message
      : (stderr.split('\n').find((line) => line.includes('Error')) ?? `status ${status}`)
    throw new Failure(
      `${node} could not compile ticketkeep: ${reason}; it has to be a Node of version 20.19 or newer, and ${distFolder()} has to be writable`,
    )
  }
  return { node, ...JSON.parse(stdout) }
}

function distFolder(): string {
  const preload = packagePreload()
  if (preload === undefined) throw new Failure('the package is incomplete; install ticketkeep again')
  return dirname(preload)
}

function requireOwner(dist: string): void {
  const uid = process.geteuid?.()
  const { uid: owner } = statSync(dist)
  if (uid !== undefined && uid !== owner) {
    throw new Failure(`${dist} belongs to another user (uid ${owner}); run the command as that user`)
  }
}
