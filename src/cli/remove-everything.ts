import { lstatSync, rmdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { modulesLoadedBy, parseNodeOptions } from '../common/node-options.ts'
import { isOfOurs } from '../common/ours-alone.ts'
import { removeChildKeyFiles } from '../keys/child-key-file.ts'
import { removeUserFiles, userFiles } from '../keys/user-folder.ts'
import type { Settings } from '../settings.ts'
import { removeFile } from '../store/private-file.ts'
import { Failure } from './command.ts'
import { setupFiles } from './setup-files.ts'
import { loginShell } from './shells.ts'

/**
 * Makes sure that this shell does not use the loader: once it is removed, the shell could start no Node program.
 * @throws {Failure}
 */
export function requireSwitchedOff(): void {
  const loader = setupFiles()?.loader
  const off = loginShell().evaluate('--off')
  const words = parseNodeOptions(process.env.NODE_OPTIONS ?? '') ?? []
  if (loader === undefined || !modulesLoadedBy(words).includes(loader)) return
  throw new Failure(
    `nothing was removed: this shell has ticketkeep in NODE_OPTIONS, and would start no Node program without its files; take the line out of your profile, then call this, and try again: ${off}`,
  )
}

/**
 * Removes what `purge` leaves: the key file at the default path, key files for logins, notes and locks, the loader and
 * the files for shells. Then removes the folders that are empty.
 * @returns the paths of the files
 * @throws {Failure} where one of them is still there
 */
export function removeEverything({ key }: Settings, tickets: string | null): string[] {
  const files = setupFiles()
  const written = files ? [files.loader, ...Object.values(files.shells)] : []
  const named = [key.defaultFile, ...written].filter((path) => path !== undefined)
  // Root with another user's HOME must not remove anything of that user's, or through that user's links.
  const isOfAnother = (path: string) => !isOfOurs(dirname(path))
  const removed = [
    ...named.filter((path) => isFile(path) && !isOfAnother(path)).filter(removeFile),
    ...removeChildKeyFiles(key.runtimeDirectory),
    ...removeUserFiles(),
  ]
  // The folders that ticketkeep may have made in an empty home directory.
  const folders = [tickets, key.defaultFile, files?.loader]
    .filter((path) => path != null)
    .map((path) => dirname(path))
  for (const folder of [...folders, ...folders.map((path) => dirname(path))])
    if (isOfOurs(folder)) removeIfEmpty(folder)
  const left = [...named.filter(isFile), ...userFiles()]
  if (left.length === 0) return removed
  const others = left.filter(isOfAnother)
  if (others.length > 0) {
    throw new Failure(
      `${others.join(', ')} was not removed: another user owns a folder or a link on its path; set HOME and XDG_CONFIG_HOME to your own`,
    )
  }
  throw new Failure(`${left.join(', ')} could not be removed; check that the folder can be written to`)
}

/** True for symbolic links, too. */
const isFile = (path: string) => lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === false

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {}
}
