import { unixNow } from '../common/clock.ts'
import { factsOf, KEY_SOURCE_NAMES, type KeySourceName, type KeyState } from '../key-sources.ts'
import type { KeySettings } from '../settings.ts'
import { openSource } from './chain.ts'
import { whyNotCreated } from './creation-note.ts'
import { endsChain, isUsable, type KeyAnswer, type KeyCause, wipeKeys } from './key-source.ts'

export interface SourceDiagnosis {
  readonly source: KeySourceName
  readonly state: KeyState
  /** Whether it gives a key, or could hold one. */
  readonly usable: boolean
  readonly chosen: boolean
  /** Why it is usable or not, as a phrase for people. */
  readonly reason: string
  /** What to do about it, in sentences. Empty if there is nothing to do. */
  readonly advice: readonly string[]
}

export interface KeyDiagnosis {
  /** The source that programs use. `memory`: there is none, and tickets are not kept. */
  readonly chosen: KeySourceName
  /** Whether tickets would be kept on disk. */
  readonly kept: boolean
  /** Every source, in the order in which `auto` asks. */
  readonly sources: readonly SourceDiagnosis[]
}

/** Asks every source, including those after the one that would be chosen, and describes the answers. */
export async function diagnoseKeys(settings: KeySettings): Promise<KeyDiagnosis> {
  const sources: SourceDiagnosis[] = []
  const asking = { now: unixNow(), hold: true, signal: new AbortController().signal }
  let chosen: KeySourceName | undefined
  for (const source of KEY_SOURCE_NAMES) {
    const answer = afterLastAttempt(settings, source, await openSource(source, settings).read(asking))
    if (answer.state === 'found') wipeKeys(answer.keys)
    if (endsChain(settings.source, source, answer)) chosen ??= source
    const { state, reason } = answer
    const usable = isUsable(answer)
    const advice = adviceOn(source, answer)
    sources.push({ source, state, usable, chosen: source === chosen, reason, advice })
  }
  return { chosen: chosen!, kept: sources.some((one) => one.chosen && one.usable), sources }
}

/** A source that could hold a key is not usable if programs have tried and failed to make one there. */
function afterLastAttempt(settings: KeySettings, source: KeySourceName, answer: KeyAnswer): KeyAnswer {
  const isTried = answer.state === 'absent' && answer.creatable
  const failure = isTried ? whyNotCreated(settings, source) : undefined
  if (failure === undefined) return answer
  return { ...failure, reason: `${answer.reason}, and making one failed: ${failure.reason}` }
}

function adviceOn(source: KeySourceName, answer: KeyAnswer): readonly string[] {
  if ('cause' in answer && answer.cause) return CAUSES[answer.cause]
  return factsOf(source).advice[answer.state] ?? []
}

const CAUSES: Record<KeyCause, readonly string[]> = {
  locked: [
    'Unlock it by logging in, or without a desktop: printf %s "$PASSWORD" | gnome-keyring-daemon --unlock --components=secrets',
    'KWallet stays locked for the Secret Service until a program unlocks it there, such as: printf x | secret-tool store --label=test test test',
    'macOS, over SSH: security unlock-keychain',
  ],
  'no-collection': [
    'Make the login collection, without a desktop: printf %s "$PASSWORD" | gnome-keyring-daemon --unlock --components=secrets',
  ],
  'no-service': [
    'Install gnome-keyring and start it on this bus: gnome-keyring-daemon --start --components=secrets. Without a desktop a key file is simpler: TICKETKEEP_KEY_FILE.',
  ],
  'no-bus': [
    'A user has a session bus while logged in; to have one always (cron, CI): loginctl enable-linger USER. For one command: dbus-run-session -- COMMAND. Without a desktop a key file is simpler: TICKETKEEP_KEY_FILE.',
  ],
  'not-our-bus': [
    'DBUS_SESSION_BUS_ADDRESS or XDG_RUNTIME_DIR was inherited from another user (su, sudo -E): use `su -`, `sudo -i` or machinectl shell, or unset them.',
  ],
  hung: [
    'The keychain did not answer in time: is a prompt open on the screen, is its daemon stopped? Programs do not wait for it. They run without stored tickets until it answers.',
  ],
  prompt: [
    'ticketkeep never opens a prompt. KeePassXC asks before it stores anything, so it cannot hold this key: make a key file.',
  ],
  'not-ours': [
    'Look at the entry of service "ticketkeep" in your keychain (Seahorse, Keychain Access, Credential Manager). If nothing else needs it, remove it there: ticketkeep purge cannot know whose it is.',
  ],
  several: [
    'Leave one: remove the others in Seahorse. Or remove all of them, and the next program makes a new key: secret-tool clear service ticketkeep.',
  ],
  container: ['Use a secret of the container: TICKETKEEP_KEY_FILE (Docker and Kubernetes secrets).'],
  'no-session-keyring': [
    'Let PAM make one: `session optional pam_keyinit.so force revoke` in /etc/pam.d/ of the service (sshd, cron, su-l); systemd: KeyringMode=private. For one command: keyctl session - COMMAND.',
  ],
  'not-our-session-keyring': [
    "After a plain `su` the session keyring is still the first user's: use `su -` with pam_keyinit, or: keyctl session - COMMAND.",
  ],
  quota: [
    "The user's line in /proc/key-users shows how many keys and bytes are in use, and the limits. The limits of a user: sysctl kernel.keys.maxkeys kernel.keys.maxbytes",
  ],
  'half-made': [
    'In the session of the program: keyctl purge user keyring:USER@ticketkeep. This key encrypts only tickets of the last week. Nothing else is lost.',
  ],
}
