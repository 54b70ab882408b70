import { sep } from 'node:path'
import type { HostPort } from '../host-port.ts'
import type { Batch } from '../seal/batch-bytes.ts'
import { openBatch } from '../seal/box.ts'
import type { Subkeys } from '../seal/subkeys.ts'
import { batchPrefix, folderName, folderPrefix, isBatchName, newestFirst } from './names.ts'
import { namesIn } from './peer-folders.ts'

/** A file whose name says that one of our keys has sealed it. */
export interface StoredBatch {
  readonly keys: Subkeys
  readonly folder: string
  readonly name: string
}

/** Those of our keys, or of one peer; of one peer and key the oldest first. */
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

/** What is in a file; undefined where that is not what its name and its folder's name say. */
export function openStored({ keys, folder, name }: StoredBatch, text: string): Batch | undefined {
  const batch = openBatch(text, keys)
  const isAsNamed =
    batch !== undefined &&
    folder === folderName(keys, batch.peer) &&
    name.startsWith(batchPrefix(keys, batch.peer, batch.tickets))
  return isAsNamed ? batch : undefined
}
