// What programs of one user did, where the policy of the machine wants it to be counted: a file of sealed lines in the
// directory of the tickets. Each process adds one line, and who reads them puts one line in their place.
import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, renameSync, writeSync } from 'node:fs'
import { sep } from 'node:path'
import type { CipherName } from '../ciphers.ts'
import { cipherInForce, openCounts, sealCounts } from '../seal/box.ts'
import { addCounts, type Counts, NO_COUNTS } from '../seal/counts-text.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { COUNTS, temporaryName } from './names.ts'
import { findDirectory } from './private-directory.ts'
import { readRegularFile, removeFile } from './private-file.ts'

/** A longer file grows no more, and what is not written is not counted: some 300 processes. Bytes. */
const MAX_BYTES = 1_048_576

/** Adds what one process did. */
export function appendCounts(directory: string, counts: Counts, subkeys: Subkeys, cipher: CipherName): void {
  if (findDirectory(directory, 'leave').state !== 'usable') return
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  const flags = O_WRONLY | O_APPEND | O_CREAT | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0)
  const fd = openSync(directory + sep + COUNTS, flags, 0o600)
  try {
    const stats = fstatSync(fd)
    if (!stats.isFile() || stats.size > MAX_BYTES) return
    writeSync(fd, `${sealCounts(counts, subkeys, cipherInForce(cipher), randomBytes)}\n`)
  } finally {
    closeSync(fd)
  }
}

/**
 * The sum of all lines, which is one line of the present key from then on. So no line outlives its key where this is called
 * once a day. What cannot be opened counts for nothing.
 *
 * @param keys the present one first
 */
export function sumCounts(
  directory: string,
  keys: readonly [Subkeys, ...Subkeys[]],
  cipher: CipherName,
  nowUnixSecs: number,
): Counts {
  if (findDirectory(directory, 'leave').state !== 'usable') return NO_COUNTS
  // Moved away first, under a name that is swept if this process dies: of several, one gets it.
  const claimed = directory + sep + temporaryName(nowUnixSecs, randomBytes(8).toString('hex'))
  try {
    renameSync(directory + sep + COUNTS, claimed)
  } catch {
    return NO_COUNTS
  }
  const text = readRegularFile(claimed, 2 * MAX_BYTES)?.toString('latin1') ?? ''
  let sum = NO_COUNTS
  for (const line of text.split('\n')) {
    const counts = keys.map((subkeys) => openCounts(line, subkeys)).find((one) => one !== undefined)
    if (counts) sum = addCounts(sum, counts)
  }
  appendCounts(directory, sum, keys[0], cipher)
  removeFile(claimed)
  return sum
}
