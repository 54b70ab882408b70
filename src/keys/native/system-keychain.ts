import { clearTimeout, setTimeout } from 'node:timers'
import { onAbort } from '../../common/on-abort.ts'
import { startHelper } from '../helper-process.ts'
import { answerOf } from '../key-blob.ts'
import type { Asking, KeyAnswer, Keychain, KeyFailure, Removed, Written } from '../key-source.ts'
import { accountName } from '../keychain-account.ts'
import { noteAnswer, noteAsking, wayToAsk } from './contact-marker.ts'
import { getSecret, nativeEntry } from './napi-keyring.ts'

const WHERE = process.platform === 'win32' ? 'the Windows Credential Manager' : 'the macOS Keychain'

/** How long a program waits for the helper's answer: milliseconds. */
const PATIENCE = 5_000

/**
 * The keychain of macOS or Windows through `@napi-rs/keyring`, whose calls block. The Windows Credential Manager never
 * prompts, and is asked in this process. The macOS Keychain can prompt, and blocks for ever if nobody answers. So on
 * macOS a helper process with a time limit makes the first contact. This process asks directly only while the last
 * contact was quick (`contact-marker.ts`).
 */
export function systemKeychain(prompts = process.platform === 'darwin'): Keychain {
  return {
    name: 'keychain',
    blocks: prompts,
    read: (asking) => (prompts ? readWithCare(asking) : readNow(asking.now)),
    write,
    remove,
  }
}

function readWithCare(asking: Asking): KeyAnswer | Promise<KeyAnswer> {
  const { now } = asking
  const way = asking.direct ? 'direct' : wayToAsk(now)
  if (way === 'asked') return hung(`${WHERE} is being asked by another process`)
  if (way === 'hung') return hung(`${WHERE} did not answer recently, and is not asked for ten minutes`)
  if (way === 'helper') {
    noteAsking(now)
    return withPatience(readByHelper(asking), asking)
  }
  const began = performance.now()
  const answer = readNow(now)
  noteAnswer(now, performance.now() - began)
  return answer
}

function readNow(now: number): KeyAnswer {
  try {
    const secret = getSecret(nativeEntry(accountName()))
    if (secret !== undefined) return answerOf(secret, now, WHERE)
    return { state: 'absent', creatable: true, reason: `${WHERE} holds no key yet` }
  } catch {
    return locked(`${WHERE} is locked, or refuses this program`)
  }
}

/** The helper continues if its caller gives up, and records the result for the next process. */
async function readByHelper(asking: Asking): Promise<KeyAnswer> {
  const { keys, creatable, overdue, considered, reason } = await startHelper(
    'fetch',
    { source: 'keychain' },
    asking,
  )
  if (keys) return { state: 'found', keys, overdue, reason }
  if (creatable) return { state: 'absent', creatable, reason }
  return { state: considered[0]?.state === 'refused' ? 'refused' : 'unavailable', reason }
}

function withPatience(answer: Promise<KeyAnswer>, { hold, signal }: Asking): Promise<KeyAnswer> {
  return new Promise((resolve) => {
    const giveUp = () => resolve(hung(`${WHERE} does not answer (a prompt on the screen?)`))
    const timer = setTimeout(giveUp, PATIENCE)
    if (!hold) timer.unref()
    const doneWithSignal = onAbort(signal, () => clearTimeout(timer))
    answer.then(resolve).finally(() => {
      clearTimeout(timer)
      doneWithSignal()
    })
  })
}

function write(blob: Uint8Array): Written {
  try {
    nativeEntry(accountName()).setSecret(blob)
    return { state: 'written', reason: WHERE }
  } catch {
    return locked(`${WHERE} does not accept a key (locked?)`)
  }
}

function remove(): Removed {
  try {
    const entry = nativeEntry(accountName())
    if (entry.deleteCredential()) return { state: 'removed', reason: WHERE }
    return { state: 'absent', reason: `${WHERE} holds no key` }
  } catch {
    return locked(`${WHERE} does not delete the key`)
  }
}

const locked = (reason: string): KeyFailure => ({ state: 'unavailable', reason, cause: 'locked' })
const hung = (reason: string): KeyFailure => ({ state: 'unavailable', reason, cause: 'hung' })
