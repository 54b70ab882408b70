import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { answerOf } from '../key-blob.ts'
import {
  type KeyAnswer,
  type KeyFailure,
  type KeySource,
  type Removed,
  SourceFailure,
  type Written,
} from '../key-source.ts'
import { accountName, SERVICE } from '../keychain-account.ts'
import { forgetSealKey, openFromKernel, sealForKernel } from '../linux/kernel-seal.ts'
import { type Entry, getSecret, nativeEntry } from '../native/napi-keyring.ts'

/**
 * The kernel keyring. It is in memory, is lost at a reboot, and the user's persistent keyring keeps it for three days
 * after its last use. It works only for a process whose session keyring belongs to its own user: pam_keyinit gives one
 * to a login, systemd to a service.
 *
 * Source: keyrings(7), persistent-keyring(7).
 */
export const kernelSource: KeySource = {
  name: 'kernel',
  read: ({ now }) => orFailure(() => read(now)),
  write: (blob) => orFailure(() => write(blob)),
  remove: () => orFailure(remove),
}

const WHERE = 'the kernel keyring'
const TAKES_NONE = `${WHERE} does not accept a key: this user's quota of keys may be used up`

function orFailure<T>(work: () => T): T | KeyFailure {
  try {
    return work()
  } catch (error) {
    if (error instanceof SourceFailure) return error.failure
    return { state: 'unavailable', reason: `${WHERE}: ${(error as Error).message}` }
  }
}

const halfMade = () =>
  new SourceFailure(
    `${WHERE} has a key of ticketkeep that this session cannot read: another login made it, or it is incomplete`,
    'half-made',
  )

function read(now: number): KeyAnswer {
  const entry = open()
  let secret: Uint8Array | undefined
  try {
    secret = getSecret(entry)
  } catch {}
  const blob = secret && openFromKernel(secret)
  if (blob !== undefined) return answerOf(blob, now, WHERE)
  if (secret === undefined && isVisible()) throw halfMade()
  const reason = `${WHERE} holds ${secret === undefined ? 'no key yet' : 'a key that cannot be opened any more'}`
  return { state: 'absent', creatable: true, reason }
}

function write(blob: Uint8Array): Written {
  const entry = open()
  let sealed: Uint8Array
  try {
    sealed = sealForKernel(blob)
  } catch {
    throw new SourceFailure(`this user has no folder for the file that encrypts the key in ${WHERE}`)
  }
  try {
    entry.setSecret(sealed)
  } catch {
    throw isVisible() ? halfMade() : new SourceFailure(TAKES_NONE, 'quota')
  }
  return { state: 'written', reason: WHERE }
}

function remove(): Removed {
  const entry = open()
  if (!wasDeleted(entry)) {
    if (isVisible()) throw halfMade()
    return { state: 'absent', reason: `${WHERE} holds no key` }
  }
  forgetSealKey()
  return { state: 'removed', reason: WHERE }
}

function wasDeleted(entry: Entry): boolean {
  try {
    return entry.deleteCredential()
  } catch {
    return false
  }
}

const noSession = () =>
  new SourceFailure(
    'this process has no session keyring of its own (cron, docker exec, some services)',
    'no-session-keyring',
  )

/**
 * Opens the entry, which links the user's persistent keyring to the session keyring. If a process possesses no session
 * keyring, the kernel then makes one that dies with the process. Adding a key to that one would fail half-way, and
 * every later read would fail as well. So the session keyrings are compared before and after.
 *
 * @throws {SourceFailure} if this process cannot use the kernel keyring
 */
function open(): Entry {
  if (process.platform !== 'linux') throw new SourceFailure('only Linux has a kernel keyring')
  if (inContainer())
    throw new SourceFailure(`${WHERE} is shared between containers, and this is a container`, 'container')
  const sessions = sessionKeyrings()
  const foreign = sessions.find(({ uid }) => uid !== process.geteuid!())
  if (foreign) {
    const reason = `the session keyring is user ${foreign.uid}'s, who could read our key (su?)`
    throw new SourceFailure(reason, 'not-our-session-keyring', 'refused')
  }
  if (sessions.length === 0) throw noSession()
  let entry: Entry
  try {
    entry = nativeEntry(accountName(), 'keyutils')
  } catch {
    throw new SourceFailure(`${WHERE} cannot be used here (blocked by a seccomp filter?)`)
  }
  const before = new Set(sessions.map(({ id }) => id))
  if (!sessionKeyrings().every(({ id }) => before.has(id))) throw noSession()
  return entry
}

/** The session keyrings that are visible: our user's, and another user's if we inherited it. */
function sessionKeyrings() {
  const keys = procKeys()
  if (keys === undefined) throw new SourceFailure('/proc/keys cannot be read')
  return keys.filter(({ type, name }) => type === 'keyring' && /^_ses(\.\d+)?:/.test(name))
}

/** Whether our entry exists at all, readable or not. */
function isVisible(): boolean {
  const prefix = `keyring:${accountName()}@${SERVICE}:`
  return procKeys()?.some(({ type, name }) => type === 'user' && name.startsWith(prefix)) ?? false
}

/** Source: proc(5), "/proc/keys": ID, flags, usage, expiry, permissions, uid, gid, type, description. */
function procKeys() {
  try {
    return readFileSync('/proc/keys', 'utf8')
      .split('\n')
      .map((line) => {
        const [id = '', , , , , uid, , type = '', ...name] = line.split(/ +/)
        return { id, uid: Number(uid), type, name: name.join(' ') }
      })
  } catch {
    return undefined
  }
}

/**
 * Whether this process runs in a container. Keyrings are separated only by user namespace, so two containers with the
 * same uid share them. A container has its own PID or user namespace. The initial namespaces have fixed inode numbers.
 *
 * Source: Linux, include/linux/proc_ns.h (PROC_PID_INIT_INO, PROC_USER_INIT_INO).
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
