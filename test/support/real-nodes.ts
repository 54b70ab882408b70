import { spawnSync } from 'node:child_process'
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
  /** On top of a clean environment. */
  readonly env?: Record<string, string>
}

/** What a real Node prints that runs `source`. @throws where it does not end well */
export const askNode = (line: NodeLine, source: string, options: AskOptions = {}): string =>
  run(line, ['-e', source, '--'], options)

/** The same for a file. */
export const runInNode = (line: NodeLine, file: string, options: AskOptions = {}): string =>
  run(line, [file], options)

function run(
  line: NodeLine,
  program: readonly string[],
  { flags = [], args = [], env = {} }: AskOptions,
): string {
  const { status, stdout, stderr } = spawnSync(nodeBinary(line), [...flags, ...program, ...args], {
    env: cleanEnv(env),
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  if (status !== 0) throw new Error(`Node ${line} ended with ${status}: ${stderr}`)
  return stdout
}
