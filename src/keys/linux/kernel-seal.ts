import { randomBytes } from 'node:crypto'
import { unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { wipe } from '../../common/bytes.ts'
import { openAes, sealAes, TAG_BYTES } from '../../seal/box.ts'
import { KEY_BYTES } from '../key-text.ts'
import { readKeyFile } from '../sources/file.ts'
import { userFolder } from '../user-folder.ts'

/**
 * A process that possesses a session keyring can read every key linked to it, whoever owns the key: after a plain `su`
 * the second user's processes possess the first user's keyring (keyrings(7), "Possession"; seen on Linux 6.1). So the
 * key in the kernel is encrypted with 32 random bytes in a file of the user. Neither is useful without the other, and
 * the part in the kernel is never on a disk.
 */
const NONCE_BYTES = 12

/** @throws if the user has no folder for the file, or it cannot be written */
export function sealForKernel(blob: Uint8Array): Uint8Array {
  const key = readSealKey() ?? makeSealKey()
  const nonce = randomBytes(NONCE_BYTES)
  const box = sealAes(blob, nonce, key)
  wipe(key)
  return Buffer.concat([nonce, box])
}

/** @returns undefined if it was sealed with another file, or not sealed at all: the key in it is lost */
export function openFromKernel(bytes: Uint8Array): Uint8Array | undefined {
  const key = readSealKey()
  if (key === undefined || bytes.length <= NONCE_BYTES + TAG_BYTES) return undefined
  const blob = openAes(bytes.subarray(NONCE_BYTES), bytes.subarray(0, NONCE_BYTES), key)
  wipe(key)
  return blob ?? undefined
}

export function forgetSealKey(): void {
  try {
    unlinkSync(fileOf(userFolder('lasting')!))
  } catch {}
}

const fileOf = (folder: string) => join(folder, 'kernel-keyring.key')

function readSealKey(): Uint8Array | undefined {
  const folder = userFolder('lasting', false)
  if (folder === undefined) return undefined
  const answer = readKeyFile(fileOf(folder))
  return answer.state === 'found' ? answer.keys.current : undefined
}

function makeSealKey(): Uint8Array {
  const folder = userFolder('lasting')
  if (folder === undefined) throw new Error('this user has no folder')
  forgetSealKey()
  const key = randomBytes(KEY_BYTES)
  writeFileSync(fileOf(folder), key, { flag: 'wx', mode: 0o600 })
  return key
}
