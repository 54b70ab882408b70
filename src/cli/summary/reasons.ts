// Why a connection was not resumed. Processes report the reasons of their events. Only this file turns them into codes
// and texts for users.

/** A reason: a stable code, and a phrase that follows the name of a host. */
export interface Reason {
  readonly code: string
  readonly words: string
}

/** Reasons that follow from all connections to a host. */
export const NOTHING_STORED: Reason = { code: 'nothing-stored', words: 'nothing was stored yet' }
export const TICKETS_USED_UP: Reason = { code: 'tickets-used-up', words: 'all stored tickets were used up' }
export const NO_TICKETS: Reason = { code: 'no-tickets', words: 'the server gives no tickets' }

/**
 * A pattern for an event's reason, the code, and a replacement text if the reason itself is not meant for everybody.
 */
const KNOWN: readonly (readonly [pattern: RegExp, code: string, words?: string])[] = [
  [/^failed: (?<rest>.*)$/, 'failed', 'the connection failed'],
  [/^no ticket$|^$/, NOTHING_STORED.code, NOTHING_STORED.words],
  [/^not kept: the session has no ticket/, NO_TICKETS.code, NO_TICKETS.words],
  [/^the server turned the ticket down$/, 'turned-down'],
  [/^the server failed on an earlier offer/, 'server-failed'],
  [/^certificate verification is disabled$/, 'verification-disabled'],
  [/^the program checks the identity itself/, 'identity-check'],
  [/^the program wants no /, 'sessions-not-wanted'],
  [/^over a stream of the program/, 'program-stream'],
  [/^the program has set a session$/, 'own-session', 'the program offered a session of its own'],
  [/^the call names no server/, 'no-server-name'],
  [/^(not kept: )?the secureContext was (made|changed)/, 'secure-context'],
  [/^the file of NODE_EXTRA_CA_CERTS /, 'extra-ca-certs'],
  [/client certificate/, 'client-certificate'],
  [/^the option \w+ is (set|not text)|^an option is not plain/, 'option'],
  [/not (Node's|its) own$|was replaced|of their own$|^the session in force is/, 'replaced-function'],
  [/(options|server name) (were|was) changed/, 'changed-call'],
  [/^the tickets were invalidated/, 'invalidated'],
  [/^the session has expired/, 'expired'],
  [/^worker thread: /, 'worker-thread'],
  [/^the flags? /, 'flag'],
  [/^OPENSSL_\w+ is set$|^NODE_OPTIONS is malformed$/, 'variable'],
  [/^the OpenSSL configuration/, 'openssl-configuration'],
  [/^this Node |^Node \d+ is not|^Electron /, 'node-build'],
  [/^the key came too late|^nothing is kept: the program ended/, 'key-late', 'the key came too late'],
  [/^nothing is kept without a key: (?<rest>.*)$/, 'no-key', 'there is no key'],
  [/^not saved: (?<rest>.*)$/, 'not-saved', 'the tickets could not be stored'],
  [/extended master secret/, 'no-extended-master-secret'],
  [/^not kept: (?<rest>.*)$/, 'not-kept', 'its sessions are not stored'],
  [/^disabled by /, 'disabled'],
  [/^disabled for everybody|^the policy of this machine /, 'policy'],
  [/^TICKETKEEP_\w+ must be /, 'setting'],
]

/** @param event the reason of an event; it may come from any process */
export function reasonOf(event: string): Reason {
  for (const [pattern, code, words] of KNOWN) {
    const match = pattern.exec(event)
    if (!match) continue
    const { rest } = match.groups ?? {}
    const plain = words ?? event.replace(/^not kept: /, '')
    return { code, words: rest ? `${plain} (${rest})` : plain }
  }
  return { code: 'other', words: event }
}

/** Every code, for the documentation and its test. */
export const REASON_CODES: readonly string[] = [
  ...new Set([NOTHING_STORED, TICKETS_USED_UP, NO_TICKETS].map(({ code }) => code)),
  ...KNOWN.map(([, code]) => code),
  'other',
].filter((code, i, all) => all.indexOf(code) === i)
