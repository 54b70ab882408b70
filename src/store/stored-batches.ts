import { sep } from 'node:path'
import type { HostPort } from '../host-port.ts'
import type { Batch } from '../seal/batch-bytes.ts'
import { openBatch } from '../seal/box.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { batchPrefix, folderName, folderPrefix, isBatchName, newestFirst } from './names.ts'
import { namesIn } from './peer-folders.ts'

/** A file that one of our keys has sealed, according to its name. */
export interface StoredBatch {
  readonly keys: Subkeys
  readonly folder: string
  readonly name: string
}

/** The batches of our keys, or those of one peer. For each peer and key, the oldest come first. */
export function storedBatches(
  directory: string,
  allKeys: readonly Subkeys[],
  peer?: HostPort,
): StoredBatch[] {
  const folders = peer === undefined ? namesIn(directory) : []
  return allKeys.flatMap((keys) => {
    const ours =
      peer === undefined
        ? folders.filter((name) => name.startsWith(folderPrefix(keys.kid)))
        : [folderName(keys, peer)]
    return ours.flatMap((folder) =>
      namesIn(directory + sep + folder)
        .filter(isBatchName)
        .sort(newestFirst)
        .reverse()
        .map((name) => ({ keys, folder, name })),
    )
  })
}

/** The contents of a file. Undefined if they do not match the name of the file and of its folder. */
export function openStored({ keys, folder, name }: StoredBatch, text: string): Batch | undefined {
  const batch = openBatch(text, keys)
  const isAsNamed =
    batch !== undefined &&
    folder === folderName(keys, batch.peer) &&
    name.startsWith(batchPrefix(keys, batch.peer, batch.tickets))
  return isAsNamed ? batch : undefined
}
