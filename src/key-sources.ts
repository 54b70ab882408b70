/** What a source can answer: see `KeyAnswer`. */
export type KeyState = 'not allowed' | 'not set' | 'found' | 'absent' | 'unavailable' | 'refused'

interface Source {
  /**
   * Somebody has to set it, and it says at once whether anybody has. Where it is set it ends the search, also where it
   * fails. Without this it is passed over where it is of no use.
   */
  readonly isSetByUser: boolean
  /** The place in which ticketkeep makes a key and destroys it, as people call it. None: the key is given to us. */
  readonly keyIsMadeIn?: string
  /** Sentences for people: what to do about an answer. What has a `KeyCause` has its advice in `diagnose.ts`. */
  readonly advice: Partial<Record<KeyState, readonly string[]>>
}

/** A new key, as the settings take it. */
const NEW_KEY = 'openssl rand -base64 32'

/** Where a master key can come from, in the order in which `auto` asks. */
const SOURCES = {
  variable: {
    isSetByUser: true,
    advice: {
      found: [
        'TICKETKEEP_KEY reaches every child process, and every `printenv` in a log: put the key into a file and name it by TICKETKEEP_KEY_FILE where you can.',
      ],
      refused: [`Make one with: ${NEW_KEY}`],
    },
  },
  file: {
    isSetByUser: true,
    advice: {
      absent: [
        `Make it with: (umask 077; ${NEW_KEY} >FILE). Docker: \`secrets:\` puts it at /run/secrets/NAME. Kubernetes: mount a Secret as a volume.`,
      ],
      refused: [
        `The file must be yours or root's, writable by nobody else, and hold what \`${NEW_KEY}\` prints, or 32 raw bytes. Others may read it only where root put it on a read-only or memory mount, as Docker and Kubernetes do.`,
      ],
      'not set': [
        'On a machine of your own without a keychain: ticketkeep init --key-file',
        'In containers and CI: TICKETKEEP_KEY_FILE=/run/secrets/ticketkeep, a Docker or Kubernetes secret of one job or one trust level.',
      ],
    },
  },
  command: {
    isSetByUser: true,
    advice: {
      unavailable: [
        "Run the command by hand, without a terminal: its exit status must be 0 within 10 seconds. It runs without a shell; where you need one: sh -c '…'.",
      ],
      refused: [
        `Its first output line must be what \`${NEW_KEY}\` prints (Vault: \`vault kv get -field=key …\`).`,
      ],
      'not set': [
        'With Vault, pass or 1Password: TICKETKEEP_KEY_COMMAND="vault kv get -field=key secret/ticketkeep".',
      ],
    },
  },
  systemd: {
    isSetByUser: true,
    advice: {
      'not set': [
        'For a systemd service, in its unit: LoadCredentialEncrypted=ticketkeep.key:/etc/credstore.encrypted/ticketkeep.key',
        `Made with: ${NEW_KEY} | systemd-creds encrypt --name=ticketkeep.key - /etc/credstore.encrypted/ticketkeep.key`,
      ],
      refused: [`The credential must hold what \`${NEW_KEY}\` prints, or 32 raw bytes.`],
    },
  },
  keychain: {
    isSetByUser: false,
    keyIsMadeIn: 'keychain',
    advice: {
      found: [
        'It is asked while a program connects. A server nearby has answered before, so the first connection to it is not resumed, and a short program keeps none of its tickets. A key in a file is there at once: ticketkeep init --key-file',
      ],
    },
  },
  kernel: { isSetByUser: false, keyIsMadeIn: 'kernel keyring', advice: {} },
  memory: { isSetByUser: false, advice: {} },
} satisfies Record<KeySourceName, Source>

/**
 * Where a master key can come from, in the order in which `auto` asks:
 *
 * - `variable`: `TICKETKEEP_KEY`, base64 of 32 bytes
 * - `file`: the file that `TICKETKEEP_KEY_FILE` names, or `key` in the user's configuration folder
 * - `command`: the first output line of `TICKETKEEP_KEY_COMMAND`
 * - `systemd`: the credential `ticketkeep.key` of a service (`LoadCredentialEncrypted=` in systemd.exec(5))
 * - `keychain`: macOS Keychain, Windows Credential Manager, or the Secret Service of a Linux desktop
 * - `kernel`: the kernel keyring of a Linux login (keyrings(7))
 * - `memory`: no source gave a key, so nothing is written to disk
 */
export type KeySourceName = 'variable' | 'file' | 'command' | 'systemd' | 'keychain' | 'kernel' | 'memory'

/** Their names, in the same order. */
export const KEY_SOURCE_NAMES = Object.keys(SOURCES) as KeySourceName[]

/** The entry of one, with all fields that an entry can have. */
export const factsOf = (name: KeySourceName): Source => SOURCES[name]

/** Those whose code is loaded in every program with a TLS connection. */
export type SetByUser = {
  [Name in KeySourceName]: (typeof SOURCES)[Name]['isSetByUser'] extends true ? Name : never
}[KeySourceName]
