import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { configDirectory } from '../common/config-directory.ts'
import { requireWord } from '../common/node-options.ts'
import { isOursAlone, isOursToMake, isSafe } from '../common/ours-alone.ts'
import { SYSTEM_FOLDER } from '../common/system-folder.ts'
import { codeOf, readRegularFile } from '../store/private-file.ts'
import { packagePreload } from './preload-path.ts'
import { SHELLS, type Shell } from './shells.ts'

/**
 * The files that `init` and `env` write into the configuration directory, so that a shell profile need not start a
 * program.
 */
export interface SetupFiles {
  readonly folder: string
  /** The file that NODE_OPTIONS names. It loads the package, and does nothing if the package is gone. */
  readonly loader: string
  /** The file of each shell that puts the loader into NODE_OPTIONS. */
  readonly shells: Readonly<Record<Shell['file'], string>>
}

const isRoot = () => process.geteuid?.() === 0

/**
 * Root's programs pass NODE_OPTIONS on to other users (su, services), who cannot read root's home. Node does not start
 * if the file is missing. So root's files are in a place that everybody can read, unless `XDG_CONFIG_HOME` says
 * otherwise.
 */
const folderOfFiles = () => (isRoot() && !process.env.XDG_CONFIG_HOME ? SYSTEM_FOLDER : configDirectory())

const LOADER = 'loader.cjs'

/** Root's loader, which a profile names for everybody. */
const SYSTEM_LOADER = join(SYSTEM_FOLDER, LOADER)

/** The paths of the files, whether they exist or not. Undefined if the user has no configuration directory. */
export function setupFiles(): SetupFiles | undefined {
  const folder = folderOfFiles()
  if (folder === undefined) return undefined
  const shells = Object.fromEntries(SHELLS.map(({ file }) => [file, join(folder, file)]))
  return { folder, loader: join(folder, LOADER), shells: shells as SetupFiles['shells'] }
}

/** The loaders that this user's NODE_OPTIONS may name: the own one, and root's, by a profile for everybody. */
export const possibleLoaders = (): string[] =>
  [setupFiles()?.loader, SYSTEM_LOADER].filter((path) => path !== undefined)

const loaderText = (
  preload: string,
) => `// NODE_OPTIONS names this file, so that Node still starts if ticketkeep has been removed.
// "ticketkeep env" and "ticketkeep init" write it, and "ticketkeep purge --everything" removes it.
try {
  require(${JSON.stringify(preload)})
} catch {}
`

/** Finds the preload that a loader names. */
const PRELOAD = /^ {2}require\((".*")\)$/m

/**
 * Writes the files that are missing or out of date.
 * @returns the files, or a phrase for people that says why there are none: then NODE_OPTIONS must name the package
 *   itself
 */
export function writeSetupFiles(preload: string): SetupFiles | string {
  const files = setupFiles()
  if (files === undefined) return 'this user has no configuration directory'
  // Root's files are loaded by every user.
  if (isRoot() && !isOursAlone(dirname(preload))) return 'users other than root can change the package'
  const elsewhere = `others can write to ${files.folder}, or to a folder above it`
  try {
    if (!isOursToMake(files.folder)) return elsewhere
    const isNew = mkdirSync(files.folder, { recursive: true, mode: 0o700 }) !== undefined
    if (!isOursAlone(files.folder)) return elsewhere
    if (isNew && isRoot()) chmodSync(files.folder, 0o755)
    write(files.loader, loaderText(preload))
    const word = requireWord(files.loader)
    for (const { file, preload: code } of SHELLS) {
      write(
        files.shells[file],
        `# Written by ticketkeep: puts it into NODE_OPTIONS.\n${code(files.loader, word)}\n`,
      )
    }
    return files
  } catch (error) {
    return `${files.folder} cannot be written to (${codeOf(error)})`
  }
}

/** The text of a loader, if it exists and nobody else can have written it. */
const readLoader = (loader: string) =>
  isOursAlone(dirname(loader)) ? read(loader, loader === SYSTEM_LOADER ? 0 : undefined) : undefined

/** The preload that a loader loads. */
export function preloadOfLoader(loader: string): string | undefined {
  const name = PRELOAD.exec(readLoader(loader) ?? '')?.[1]
  return name === undefined ? undefined : (JSON.parse(name) as string)
}

/** The module for `--require`: the loader, if it exists and loads this package, or else the package's own preload. */
export function moduleToLoad(): string | undefined {
  const preload = packagePreload()
  const files = setupFiles()
  return preload !== undefined && files && readLoader(files.loader) === loaderText(preload)
    ? files.loader
    : preload
}

/** Reads a file of this owner, if nobody else can have written to it. */
const read = (path: string, owner = process.geteuid?.()) =>
  readRegularFile(path, 65_536, ({ uid, mode }) => isSafe(uid, mode) && uid === (owner ?? uid))?.toString()

function write(path: string, text: string): void {
  if (read(path) === text) return
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  writeFileSync(temporary, text, { flag: 'wx', mode: 0o600 })
  // Not left to the umask.
  if (isRoot()) chmodSync(temporary, 0o644)
  renameSync(temporary, path)
}

/**
 * The line for the profile of each shell. It prints nothing if the file is missing, and does not end a `set -e` script.
 */
export function profileLines({ shells }: SetupFiles): [shells: string, line: string][] {
  return SHELLS.map(({ names, file, source }) => [names, source(shells[file])])
}
