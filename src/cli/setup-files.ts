import { randomBytes } from 'node:crypto'
import { chmodSync, lstatSync, mkdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { configDirectory } from '../common/config-directory.ts'
import { requireWord } from '../common/node-options.ts'
import { SYSTEM_FOLDER } from '../common/system-folder.ts'
import { codeOf, readRegularFile } from '../store/private-file.ts'
import { packagePreload } from './preload-path.ts'
import { SHELLS, type Shell } from './shells.ts'

/** What `init` and `env` write into the configuration directory, so that a profile starts no program. */
export interface SetupFiles {
  readonly folder: string
  /** What NODE_OPTIONS names: it loads the package, and does nothing where that is gone. */
  readonly loader: string
  /** The file of each shell that puts the loader into NODE_OPTIONS. */
  readonly shells: Readonly<Record<Shell['file'], string>>
}

const isRoot = () => process.geteuid?.() === 0

/**
 * Root's programs hand NODE_OPTIONS to other users (su, services), who cannot read root's home, and Node does not start
 * without the file. So root's files are where everybody can read them, unless `XDG_CONFIG_HOME` says otherwise.
 */
const folderOfFiles = () => (isRoot() && !process.env.XDG_CONFIG_HOME ? SYSTEM_FOLDER : configDirectory())

const LOADER = 'loader.cjs'

/** Root's, which a profile names for everybody. */
const SYSTEM_LOADER = join(SYSTEM_FOLDER, LOADER)

/** Their places, whether they are there or not. Undefined where the user has no configuration directory. */
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
) => `// NODE_OPTIONS names this file, so that Node still starts where ticketkeep has been removed since.
// "ticketkeep env" and "ticketkeep init" write it, and "ticketkeep purge --everything" removes it.
try {
  require(${JSON.stringify(preload)})
} catch {}
`

/** The preload that a loader names, from its text. */
const PRELOAD = /^ {2}require\((".*")\)$/m

/**
 * Writes what is missing or out of date.
 * @returns the files, or in words why there are none: then NODE_OPTIONS has to name the package itself
 */
export function writeSetupFiles(preload: string): SetupFiles | string {
  const files = setupFiles()
  if (files === undefined) return 'this user has no configuration directory'
  // Everybody loads what root's files name.
  if (isRoot() && !isOursAlone(dirname(preload))) return 'others than root can change the package'
  try {
    const isNew = mkdirSync(files.folder, { recursive: true, mode: 0o700 }) !== undefined
    if (isNew && isRoot()) chmodSync(files.folder, 0o755)
    if (!isOursAlone(files.folder)) return `others can write to ${files.folder}, or to a folder above it`
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

/** Its text, where it is there and nobody else can have written it. */
const readLoader = (loader: string) =>
  isOursAlone(dirname(loader)) ? read(loader, loader === SYSTEM_LOADER ? 0 : undefined) : undefined

/** What that loads. */
export function preloadOfLoader(loader: string): string | undefined {
  const name = PRELOAD.exec(readLoader(loader) ?? '')?.[1]
  return name === undefined ? undefined : (JSON.parse(name) as string)
}

/** What `--require` is to load: the loader, where it is there and loads this package, or else the package's own file. */
export function moduleToLoad(): string | undefined {
  const preload = packagePreload()
  const files = setupFiles()
  return preload !== undefined && files && readLoader(files.loader) === loaderText(preload)
    ? files.loader
    : preload
}

/** A file of this owner, in which nobody else can have written. */
const read = (path: string, owner = process.geteuid?.()) =>
  readRegularFile(path, 65_536, ({ uid, mode }) => isSafe(uid, mode) && uid === (owner ?? uid))?.toString()

function write(path: string, text: string): void {
  if (read(path) === text) return
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  writeFileSync(temporary, text, { flag: 'wx', mode: 0o600 })
  // Whatever the umask is.
  if (isRoot()) chmodSync(temporary, 0o644)
  renameSync(temporary, path)
}

/**
 * Whether only this user and root can change what is in this folder: neither it nor any folder above it belongs to
 * somebody else, or can be written to. sshd asks the same of its files (`StrictModes`).
 */
export function isOursAlone(folder: string): boolean {
  if (process.platform === 'win32') return true
  try {
    const { uid, mode } = lstatSync(realpathSync(folder))
    return isSafe(uid, mode) && [folder, realpathSync(folder)].every(areSafeAbove)
  } catch {
    return false
  }
}

function areSafeAbove(path: string): boolean {
  const { uid, mode } = lstatSync(path)
  // A link has no mode of its own. In a sticky folder (/tmp) nobody replaces what belongs to others.
  const isSticky = (mode & 0o1000) !== 0 || lstatSync(path).isSymbolicLink()
  return isSafe(uid, isSticky ? 0 : mode) && (dirname(path) === path || areSafeAbove(dirname(path)))
}

function isSafe(owner: number, mode: number): boolean {
  if (process.platform === 'win32') return true
  return (owner === 0 || owner === process.geteuid!()) && (mode & 0o022) === 0
}

/** The line for the profile of each shell. It is silent where the file is gone, and does not end a `set -e` script. */
export function profileLines({ shells }: SetupFiles): [shells: string, line: string][] {
  return SHELLS.map(({ names, file, source }) => [names, source(shells[file])])
}
