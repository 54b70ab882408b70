import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { cleanEnv } from './children.ts'
import { missingNode } from './missing.ts'
import { NODE_LINES, type NodeLine, nodeBinary, OLDER_NODES } from './pinned.ts'

/** Every pinned Node that starts on this machine. */
export const realNodes = (): NodeLine[] =>
  [...NODE_LINES, ...OLDER_NODES].filter((line) => missingNode(line) === undefined)

export interface AskOptions {
  /** Flags of Node's own, before the program. */
  readonly flags?: readonly string[]
  readonly args?: readonly string[]
  /** In addition to a clean environment. */
  readonly env?: Record<string, string>
}

/** The output of a real Node that runs `source`. @throws if it fails */
export const askNode = (line: NodeLine, source: string, options: AskOptions = {}): Promise<string> =>
  run(line, ['-e', source, '--'], options)

/** The same for a file. */
export const runInNode = (line: NodeLine, file: string, options: AskOptions = {}): Promise<string> =>
  run(line, [file], options)

const exec = promisify(execFile)

async function run(
  line: NodeLine,
  program: readonly string[],
  { flags = [], args = [], env = {} }: AskOptions,
): Promise<string> {
  const { stdout } = await exec(nodeBinary(line), [...flags, ...program, ...args], {
    env: cleanEnv(env),
    maxBuffer: 64 * 1024 * 1024,
  })
  return stdout
}
