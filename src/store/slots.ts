import { existsSync, linkSync, lstatSync, renameSync } from 'node:fs'
import { REUSABLE_SLOTS, SINGLE_USE_SLOTS } from './file-names.ts'
import { regularFile, removeFile } from './private-file.ts'

/** The paths of the tickets of one peer and binding, the newest first. */
export function newestFirst(prefix: string): string[] {
  const present: { path: string; mtimeMs: number }[] = []
  for (const slots of [SINGLE_USE_SLOTS, REUSABLE_SLOTS]) {
    for (const slot of slots) {
      // Most are not there, and to ask no more than that is the cheapest.
      const stats = existsSync(prefix + slot) ? regularFile(prefix + slot) : undefined
      if (stats !== undefined) present.push({ path: prefix + slot, mtimeMs: stats.mtimeMs })
    }
  }
  return present.sort((a, b) => b.mtimeMs - a.mtimeMs).map(({ path }) => path)
}

/**
 * Moves a file that has just been written to a free slot, or over the oldest ticket.
 * @throws where neither can be, with the file left where it was
 */
export function moveToSlot(temporary: string, prefix: string, slots: readonly string[]): void {
  let oldest: { path: string; mtimeMs: number } | undefined
  for (const slot of slots) {
    const path = prefix + slot
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined && moveToFree(temporary, path)) return
    const stats = regularFile(path)
    if (stats !== undefined && (oldest === undefined || stats.mtimeMs < oldest.mtimeMs)) {
      oldest = { path, mtimeMs: stats.mtimeMs }
    }
  }
  if (oldest === undefined) throw new Error('something that is not a ticket holds every slot')
  // Removed first: for a rename over a file that is there ext4 writes the new one out to the disk at once.
  removeFile(oldest.path)
  if (!moveToFree(temporary, oldest.path)) renameSync(temporary, oldest.path)
}

// link(2) fails where the name is taken, which rename(2) would replace.
function moveToFree(temporary: string, path: string): boolean {
  try {
    linkSync(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    // Not every file system has hard links. Without them two writers that meet here keep one ticket.
    renameSync(temporary, path)
    return true
  }
  removeFile(temporary)
  return true
}

/** Moves a ticket back to where it was. If another has come to rest there, this one, which is older, goes. */
export function putBack(temporary: string, path: string): void {
  try {
    if (!moveToFree(temporary, path)) removeFile(temporary)
  } catch {
    removeFile(temporary)
  }
}
