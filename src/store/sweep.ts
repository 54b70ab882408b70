import { readdirSync, rmdirSync, utimesSync } from 'node:fs'
import { sep } from 'node:path'
import { MAX_AGE } from '../ticket-entry.ts'
import { CACHEDIR_TAG, isTemporaryFile, isTicketFile, kidOfFile, peerOfFile } from './file-names.ts'
import { isTagged } from './private-directory.ts'
import { regularFile, removeFile } from './private-file.ts'

/** How many peers one key keeps tickets of. */
export const MAX_PEERS = 1024

const SWEEP_INTERVAL = 3_600
// Written or taken in milliseconds: what is older was left behind by a process that died.
const TEMPORARY_MAX_AGE = 600

/**
 * Prunes a directory without any key: tickets, of whatever key, whose file is 24 hours old (or bears a time
 * that far in the future), temporary files left behind, and the peers least recently stored where one key has
 * more than `MAX_PEERS`. Names that are not of our form are left alone.
 * @returns how many tickets were removed
 */
export function sweep(directory: string, nowUnixSecs: number): number {
  touchTag(directory, nowUnixSecs)
  const newest = new Map<string, number>()
  const files: string[] = []
  let removed = 0
  for (const name of namesIn(directory)) {
    const path = directory + sep + name
    if (isTicketFile(name)) {
      const stats = regularFile(path)
      if (stats === undefined) continue
      const stored = stats.mtimeMs / 1000
      if (Math.abs(nowUnixSecs - stored) >= MAX_AGE) {
        if (removeFile(path)) removed++
      } else {
        files.push(name)
        newest.set(peerOfFile(name), Math.max(stored, newest.get(peerOfFile(name)) ?? 0))
      }
    } else if (isTemporaryFile(name)) {
      const stats = regularFile(path)
      // A ticket that is being taken keeps its mtime, but its ctime is that of the renaming.
      const touched = stats && Math.max(stats.mtimeMs, stats.ctimeMs) / 1000
      if (touched !== undefined && Math.abs(nowUnixSecs - touched) > TEMPORARY_MAX_AGE) removeFile(path)
    }
  }
  const surplus = surplusPeers(newest)
  for (const name of files) {
    if (surplus.has(peerOfFile(name)) && removeFile(directory + sep + name)) removed++
  }
  return removed
}

/** Whether nobody has swept for an hour: the tag's mtime tells. */
export function isSweepDue(directory: string, nowUnixSecs: number): boolean {
  const swept = regularFile(directory + sep + CACHEDIR_TAG)
  return swept === undefined || Math.abs(nowUnixSecs - swept.mtimeMs / 1000) >= SWEEP_INTERVAL
}

/**
 * Removes every ticket of every key, what ticketkeep put there besides, and the directory if it is then empty.
 * @param isOurs by name, in another directory of ours than that of the tickets
 * @returns how many files of ours were removed
 */
export function purge(directory: string, isOurs = isTicketFile): number {
  let removed = 0
  const isTaggedByUs = isTagged(directory)
  for (const name of namesIn(directory)) {
    const path = directory + sep + name
    if (isOurs(name) && regularFile(path) && removeFile(path)) removed++
    else if (isTemporaryFile(name) || (name === CACHEDIR_TAG && isTaggedByUs)) removeFile(path)
  }
  try {
    // Only one that we have used: an empty one may be somebody's plan.
    if (isTaggedByUs || removed > 0) rmdirSync(directory)
  } catch {
    // It holds other things.
  }
  return removed
}

/** The names in a directory; none where it cannot be read. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

// First, so that others who start now do not sweep as well.
function touchTag(directory: string, now: number): void {
  try {
    const tag = directory + sep + CACHEDIR_TAG
    if (regularFile(tag)) utimesSync(tag, now, now)
  } catch {
    // Read-only: then nothing can be swept either.
  }
}

// Each key by itself, so that two keys in one directory never fight.
function surplusPeers(newest: ReadonlyMap<string, number>): ReadonlySet<string> {
  const surplus = new Set<string>()
  const kept = new Map<string, number>()
  for (const [peer] of [...newest].sort(([, a], [, b]) => b - a)) {
    const count = (kept.get(kidOfFile(peer)) ?? 0) + 1
    kept.set(kidOfFile(peer), count)
    if (count > MAX_PEERS) surplus.add(peer)
  }
  return surplus
}
