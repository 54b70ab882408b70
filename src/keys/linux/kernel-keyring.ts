import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { answerOf } from '../key-blob.ts'
import { answered, type KeyCause, type KeyFailure, type KeySource } from '../key-source.ts'
import { SERVICE } from '../keychain-account.ts'
import { type Entry, getSecret, nativeEntry } from '../native/napi-keyring.ts'
import { accountName } from '../user-folder.ts'
import { forgetSealKey, openFromKernel, sealForKernel } from './kernel-seal.ts'

/**
 * The kernel's keyring (keyrings(7)): in memory, gone with the machine, kept for the user by the persistent
 * keyring for three days after its last use. It serves only a process with a session keyring of its own that
 * belongs to its user, which pam_keyinit gives to a login and systemd to a service.
 */
export const kernelSource: KeySource = {
  name: 'kernel',
  read({ now }, done) {
    const place = open()
    if ('state' in place) done(place)
    else {
      let secret: Uint8Array | undefined
      try {
        secret = getSecret(place.entry)
      } catch {}
      const blob = secret && openFromKernel(secret)
      if (blob !== undefined) done(answerOf(blob, now, WHERE))
      else if (secret !== undefined)
        done({
          state: 'absent',
          creatable: true,
          reason: `${WHERE} holds a key that cannot be opened any more`,
        })
      else if (isVisible(place.account)) done(unavailable(HALF_MADE, 'half-made'))
      else done({ state: 'absent', creatable: true, reason: `${WHERE} holds no key yet` })
    }
    return answered
  },
  write(blob, _asking, done) {
    const place = open()
    if ('state' in place) done(place)
    else {
      let sealed: Uint8Array
      try {
        sealed = sealForKernel(blob)
      } catch {
        done(unavailable(`this user has no folder for what seals the key in ${WHERE}`))
        return answered
      }
      try {
        place.entry.setSecret(sealed)
        done({ state: 'written', reason: WHERE })
      } catch {
        done(unavailable(HALF_MADE, 'half-made'))
      }
    }
    return answered
  },
  remove(_asking, done) {
    const place = open()
    if ('state' in place) done(place)
    else if (wasDeleted(place.entry)) {
      forgetSealKey()
      done({ state: 'removed', reason: WHERE })
    } else if (isVisible(place.account)) done(unavailable(HALF_MADE, 'half-made'))
    else done({ state: 'absent', reason: `${WHERE} holds no key` })
    return answered
  },
}

function wasDeleted(entry: Entry): boolean {
  try {
    return entry.deleteCredential()
  } catch {
    return false
  }
}

const WHERE = 'the kernel keyring'

const HALF_MADE = `${WHERE} shows a key of ours that this session may not read: another login's, or one half made`

const unavailable = (reason: string, cause?: KeyCause): KeyFailure => ({
  state: 'unavailable',
  reason,
  ...(cause && { cause }),
})

/**
 * The entry, or why the kernel keyring is not for this process. The native module links the user's persistent
 * keyring to the session keyring; a process that possesses none gets one for that by the kernel, which dies
 * with it. Such a new one shows that there was none before. (A key added then would belong to nobody: adding
 * it fails half way, and every later reading too.)
 */
function open(): { readonly entry: Entry; readonly account: string } | KeyFailure {
  if (process.platform !== 'linux') return unavailable('only Linux has a kernel keyring')
  if (inContainer())
    return unavailable(`${WHERE} is not kept apart between containers, and this is one`, 'container')
  const sessions = sessionKeyrings()
  if (sessions === undefined) return unavailable('/proc/keys cannot be read')
  const foreign = sessions.find(({ uid }) => uid !== process.geteuid!())
  if (foreign) {
    return {
      state: 'refused',
      reason: `the session keyring is user ${foreign.uid}'s, who could read our key (su?)`,
      cause: 'not-our-session-keyring',
    }
  }
  if (sessions.length === 0) return unavailable(NO_SESSION, 'no-session-keyring')
  const account = accountName()
  let entry: Entry
  try {
    entry = nativeEntry(account, 'keyutils')
  } catch {
    return unavailable(`${WHERE} cannot be used here (blocked by a seccomp filter?)`)
  }
  const before = new Set(sessions.map(({ id }) => id))
  if (sessionKeyrings()?.every(({ id }) => before.has(id)) !== true)
    return unavailable(NO_SESSION, 'no-session-keyring')
  return { entry, account }
}

const NO_SESSION = 'this process has no session keyring of its own (cron, docker exec, some services)'

interface SessionKeyring {
  readonly id: string
  readonly uid: number
}

/**
 * The session keyrings that `/proc/keys` shows: our user's, and another user's if we have inherited it. Lines
 * are: ID, flags, usage, expiry, permissions, uid, gid, type, description (proc(5)).
 */
function sessionKeyrings(): SessionKeyring[] | undefined {
  const found: SessionKeyring[] = []
  for (const line of procKeys() ?? []) {
    const [id, , , , , uid, , type, description] = line
    if (type === 'keyring' && /^_ses(\.\d+)?:$/.test(description ?? ''))
      found.push({ id: id!, uid: Number(uid) })
  }
  return procKeys() === undefined ? undefined : found
}

/** Whether an entry of ours is there at all, readable or not. */
function isVisible(account: string): boolean {
  const name = `keyring:${account}@${SERVICE}:`
  return (
    procKeys()?.some(([, , , , , , , type, ...rest]) => type === 'user' && rest.join(' ').startsWith(name)) ??
    false
  )
}

function procKeys(): string[][] | undefined {
  try {
    return readFileSync('/proc/keys', 'utf8')
      .split('\n')
      .map((line) => line.split(/ +/))
  } catch {
    return undefined
  }
}

/**
 * Keyrings have no namespace but the user namespace, so that two containers of one user id share them. A
 * container has a process or user namespace of its own: the first ones have fixed numbers (Linux,
 * include/linux/nsfs.h, include/linux/proc_ns.h).
 */
function inContainer(): boolean {
  try {
    return (
      readlinkSync('/proc/self/ns/pid') !== `pid:[${0xeffffffc}]` ||
      readlinkSync('/proc/self/ns/user') !== `user:[${0xeffffffd}]` ||
      existsSync('/run/.containerenv')
    )
  } catch {
    return true
  }
}
