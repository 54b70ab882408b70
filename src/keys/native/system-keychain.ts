import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startHelper } from '../helper-process.ts'
import { answerOf } from '../key-blob.ts'
import {
  type Abandon,
  type Asking,
  answered,
  type KeyAnswer,
  type Keychain,
  type Removed,
} from '../key-source.ts'
import { accountName, userFolder } from '../user-folder.ts'
import { getSecret, nativeEntry } from './napi-keyring.ts'

const WHERE = process.platform === 'win32' ? 'the Windows Credential Manager' : 'the macOS Keychain'

/** Seconds for which a keychain that answered quickly is asked within the process again. */
const TRUST_QUICK = 86_400
/** Seconds for which one that is being asked by another process is left alone, and if it never answers. */
const SHUN_ASKING = 30
const SHUN_HUNG = 600
/** Milliseconds that still count as quick. */
const QUICK = 250
/** Milliseconds for which somebody who waits for the answer waits. */
const PATIENCE = 5_000

/**
 * The keychain of macOS or Windows by `@napi-rs/keyring`, whose calls block. The Credential Manager never
 * prompts, and is asked within the process. The Keychain can, and blocks for ever if nobody answers: there the
 * first contact is made in a helper process, which ends itself after a while, and only while the last contact
 * was quick is it asked directly. A marker in the user's folder remembers it, a runtime apart: macOS prompts
 * again when the program has changed.
 */
export function nativeKeychain(prompts = process.platform === 'darwin'): Keychain {
  return {
    name: 'keychain',
    blocks: prompts,
    get waits() {
      return prompts && contactNow() === 'helper'
    },
    read(asking, done) {
      if (!prompts) {
        done(readNow(asking.now))
        return answered
      }
      const contact = asking.direct ? 'direct' : contactNow(asking.now)
      if (contact === 'direct') {
        const began = performance.now()
        const answer = readNow(asking.now)
        noteContact(asking.now, performance.now() - began)
        done(answer)
        return answered
      }
      if (contact !== 'helper') {
        done({ state: 'unavailable', reason: contact, cause: 'hung' })
        return answered
      }
      return readByHelper(asking, done)
    },
    write(blob, _asking, done) {
      try {
        nativeEntry(accountName()).setSecret(blob)
        done({ state: 'written', reason: WHERE })
      } catch {
        done({ state: 'unavailable', reason: `${WHERE} does not take a key (locked?)`, cause: 'locked' })
      }
      return answered
    },
    remove(_asking, done) {
      done(removeDirect())
      return answered
    },
  }
}

function readNow(now: number): KeyAnswer {
  try {
    const secret = getSecret(nativeEntry(accountName()))
    if (secret !== undefined) return answerOf(secret, now, WHERE)
    return { state: 'absent', creatable: true, reason: `${WHERE} holds no key yet` }
  } catch {
    return { state: 'unavailable', reason: `${WHERE} is locked, or refuses this program`, cause: 'locked' }
  }
}

function removeDirect(): Removed {
  try {
    const entry = nativeEntry(accountName())
    if (entry.deleteCredential()) return { state: 'removed', reason: WHERE }
    return { state: 'absent', reason: `${WHERE} holds no key` }
  } catch {
    return { state: 'unavailable', reason: `${WHERE} does not let the key go`, cause: 'locked' }
  }
}

/** The helper is left alone when its caller gives up: it notes how it went, for the next process. */
function readByHelper({ now, hold }: Asking, done: (answer: KeyAnswer) => void): Abandon {
  writeMarker({ state: 'asking', at: now, runtime: runtime() })
  let over = false
  const finish = (answer: KeyAnswer) => {
    if (over) return
    over = true
    clearTimeout(timer)
    done(answer)
  }
  const timer = setTimeout(
    () =>
      finish({
        state: 'unavailable',
        reason: `${WHERE} does not answer (a prompt on the screen?)`,
        cause: 'hung',
      }),
    PATIENCE,
  )
  if (!hold) timer.unref()
  startHelper('fetch', { source: 'keychain' }, now, hold, (outcome) => {
    const { keys, creatable, overdue, considered, reason } = outcome
    const state = considered[0]?.state
    if (keys) finish({ state: 'found', keys, overdue, reason })
    else if (creatable) finish({ state: 'absent', creatable, reason })
    else finish({ state: state === 'refused' ? 'refused' : 'unavailable', reason })
  })
  return () => {
    over = true
    clearTimeout(timer)
  }
}

/** Only what changes is written: a keychain that stays quick costs no file. */
function noteContact(now: number, milliseconds: number): void {
  const state = milliseconds > QUICK ? 'slow' : 'quick'
  if (state === 'quick' && contactNow(now) === 'direct') return
  writeMarker({ state, at: now, runtime: runtime() })
}

interface Marker {
  readonly state: 'asking' | 'quick' | 'slow'
  /** UNIX seconds. */
  readonly at: number
  readonly runtime: string
}

const runtime = () => `${process.execPath} ${process.version}`

/** How the keychain is to be asked now; a sentence: not at all, and why. */
function contactNow(now = Math.floor(Date.now() / 1000)): 'direct' | 'helper' | (string & {}) {
  const marker = readMarker()
  if (marker === undefined || marker.runtime !== runtime()) return 'helper'
  const age = Math.abs(now - marker.at)
  if (marker.state === 'quick' && age < TRUST_QUICK) return 'direct'
  if (marker.state !== 'asking' || age > SHUN_HUNG) return 'helper'
  return age < SHUN_ASKING
    ? `${WHERE} is being asked by another process`
    : `${WHERE} did not answer lately, and is left alone for ten minutes`
}

const markerFile = () => {
  const folder = userFolder()
  return folder === undefined ? undefined : join(folder, 'keychain.json')
}

function readMarker(): Marker | undefined {
  try {
    const { state, at, runtime } = JSON.parse(readFileSync(markerFile()!, 'utf8'))
    return { state, at: Number(at), runtime }
  } catch {
    return undefined
  }
}

function writeMarker(marker: Marker): void {
  const file = markerFile()
  if (file === undefined) return
  try {
    writeFileSync(`${file}.${process.pid}`, JSON.stringify(marker), { mode: 0o600 })
    renameSync(`${file}.${process.pid}`, file)
  } catch {}
}
