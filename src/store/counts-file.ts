// The statistics of one user's programs, if the policy of the machine asks for them: a file of sealed lines in the
// ticket directory. Each process appends one line. A reader replaces all lines by their sum.
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

/**
 * The size limit, in bytes: about 300 processes. Beyond it nothing is appended, and those processes are not counted.
 */
const MAX_BYTES = 1_048_576

/** Appends the counts of one process. */
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
 * Returns the sum of all lines, and replaces them by one line sealed with the current key. Called once a day, this
 * ensures that no line outlives its key. Lines that cannot be decrypted are dropped.
 *
 * @param keys the current one first
 */
export function sumCounts(
  directory: string,
  keys: readonly [Subkeys, ...Subkeys[]],
  cipher: CipherName,
  nowUnixSecs: number,
): Counts {
  if (findDirectory(directory, 'leave').state !== 'usable') return NO_COUNTS
  // Renamed first, so that only one of several processes gets the file. The name is swept if this process dies.
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
