import { readUserFile, writeUserFile } from '../user-folder.ts'

/**
 * Records how the last contact with the macOS Keychain went, in a file in the user's folder. It is valid only for the
 * same program: macOS prompts again when the program has changed.
 */
interface Marker {
  readonly state: 'asking' | 'quick' | 'slow'
  /** UNIX seconds. */
  readonly at: number
  readonly runtime: string
}

/** Seconds for which a keychain that answered quickly is asked in this process again. */
const TRUST_QUICK = 86_400
/** Seconds for which the keychain is not asked while another process asks it. */
const LEAVE_ASKED = 30
/** Seconds for which a keychain that never answered is not asked. */
const LEAVE_HUNG = 600
/** The longest answer that counts as quick: milliseconds. */
const QUICK = 250

const NAME = 'keychain.json'

const runtime = () => `${process.execPath} ${process.version}`

/**
 * How to ask the keychain. `direct`: in this process. `helper`: in a separate process, because it may show a prompt.
 * `asked`: not at all, because another process is asking. `hung`: not at all for ten minutes.
 *
 * @param now UNIX seconds
 */
export function wayToAsk(now: number): 'direct' | 'helper' | 'asked' | 'hung' {
  const marker = readMarker()
  if (marker?.runtime !== runtime()) return 'helper'
  const age = Math.abs(now - marker.at)
  if (marker.state === 'quick' && age < TRUST_QUICK) return 'direct'
  if (marker.state !== 'asking' || age > LEAVE_HUNG) return 'helper'
  return age < LEAVE_ASKED ? 'asked' : 'hung'
}

/** @param now UNIX seconds */
export function noteAsking(now: number): void {
  writeMarker('asking', now)
}

/**
 * Writes the file only if the state changes.
 *
 * @param now UNIX seconds
 * @param took milliseconds
 */
export function noteAnswer(now: number, took: number): void {
  const state = took > QUICK ? 'slow' : 'quick'
  if (state === 'quick' && wayToAsk(now) === 'direct') return
  writeMarker(state, now)
}

function readMarker(): Marker | undefined {
  try {
    return readUserFile<Marker>(NAME)
  } catch {
    return undefined
  }
}

function writeMarker(state: Marker['state'], at: number): void {
  try {
    writeUserFile(NAME, { state, at, runtime: runtime() } satisfies Marker)
  } catch {}
}
