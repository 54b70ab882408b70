import { existsSync, linkSync, lstatSync, renameSync } from 'node:fs'
import { REUSABLE_SLOTS, SINGLE_USE_SLOTS, withoutSlot } from './file-names.ts'
import { regularFile, removeFile } from './private-file.ts'

const SLOTS = [...SINGLE_USE_SLOTS, ...REUSABLE_SLOTS]

/** The paths of the tickets of one peer and binding, the newest first. */
export function newestFirst(prefix: string): string[] {
  const present: { path: string; mtimeMs: number }[] = []
  for (let i = 0; i < SLOTS.length; i++) {
    const path = prefix + SLOTS[i]
    // Most are not there, and to ask no more than that is the cheapest.
    const stats = existsSync(path) ? regularFile(path) : undefined
    if (stats !== undefined) present.push({ path, mtimeMs: stats.mtimeMs })
  }
  return present.sort((a, b) => b.mtimeMs - a.mtimeMs).map(({ path }) => path)
}

/** Of files that are tickets of one peer, the newest of each binding. */
export function newestOfBindings<T extends { readonly file: string; readonly mtimeMs: number }>(
  files: readonly T[],
): T[] {
  const newest = new Map<string, T>()
  for (const one of files) {
    const binding = withoutSlot(one.file)
    if (!((newest.get(binding)?.mtimeMs ?? 0) > one.mtimeMs)) newest.set(binding, one)
  }
  return [...newest.values()]
}

/** A slot by its index: a free one, or one and the time of the ticket in it. */
export interface Place {
  readonly slot: number
  readonly mtimeMs?: number
}

/**
 * A free slot, else the one with the oldest ticket.
 * @param first the index of the slot to look at first: after the last one, where many tickets come at once
 * @throws where something that is not a ticket holds every slot
 */
export function findPlace(prefix: string, slots: readonly string[], first = 0): Place {
  let oldest: Place | undefined
  for (let i = 0; i < slots.length; i++) {
    const slot = (first + i) % slots.length
    const stats = lstatSync(prefix + slots[slot], { throwIfNoEntry: false })
    if (stats === undefined) return { slot }
    if (stats.isFile() && !(oldest && oldest.mtimeMs! <= stats.mtimeMs))
      oldest = { slot, mtimeMs: stats.mtimeMs }
  }
  if (oldest === undefined) throw new Error('something that is not a ticket holds every slot')
  return oldest
}

/**
 * Moves a file that has just been written to the place that was found, or to another where somebody else has filled
 * it meanwhile.
 * @returns the index of the slot
 * @throws where it cannot be moved, with the file left where it was
 */
export function moveToSlot(
  temporary: string,
  prefix: string,
  slots: readonly string[],
  found: Place,
): number {
  let { slot, mtimeMs } = found
  for (let tries = slots.length; ; tries--) {
    const path = prefix + slots[slot]
    // Removed first: for a rename over a file that is there ext4 writes the new one out to the disk at once.
    if (mtimeMs !== undefined) removeFile(path)
    if (moveToFree(temporary, path)) return slot
    if (tries <= 1) {
      renameSync(temporary, path)
      return slot
    }
    ;({ slot, mtimeMs } = findPlace(prefix, slots, slot + 1))
  }
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
