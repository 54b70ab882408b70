import { lstatSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { isTicketFile } from '../store/file-names.ts'
import { directoryProblem } from '../store/private-directory.ts'
import { regularFile } from '../store/private-file.ts'
import { namesIn } from '../store/sweep.ts'
import type { Command } from './command.ts'
import { hasPreload, parseNodeOptions } from './node-options.ts'
import { type OpenStore, openStore, unixNow } from './open-store.ts'
import { preloadPath } from './preload-path.ts'
import { type Block, bytes, count } from './render.ts'

/**
 * `--json`: `{ "keeping": true, "disabled": false, "active": true, "preload": "/…/preload.cjs",
 * "directory": { "path": "/…", "exists": true, "mode": "0700", "owner": 1000, "problem": null },
 * "files": 12, "bytes": 49152, "tickets": 11, "hosts": 5,
 * "key": { "source": "keychain", "available": true, "creatable": false, "reason": "…" } }`
 *
 * `keeping`: whether a program with the preload would keep tickets. `active`: whether Node programs started
 * from this environment load the preload. `files` counts the ticket files of every key, `tickets` and `hosts`
 * what our key opens; null without the key. `mode` and `owner` are null where the system has none.
 */
export const command: Command = {
  usage: 'status [--json]',
  help: `
Says whether tickets are kept, where, how many, with which key, and whether Node programs started from
here take part. "ticketkeep doctor" looks closer where something is wrong.`,
  operands: [0, 0],
  async run() {
    const opened = await openStore()
    const status = examine(opened)
    return { json: status, text: describe(status, opened) }
  },
}

type Status = ReturnType<typeof examine>

function examine({ settings, directory, outcome, store }: OpenStore) {
  const listed = store?.list(unixNow())
  const files = filesIn(directory)
  const place = inspect(directory)
  const preload = preloadPath()
  const words = parseNodeOptions(process.env.NODE_OPTIONS ?? '') ?? []
  const hasKey = store !== undefined || (outcome.creatable && directory !== undefined)
  return {
    keeping: !settings.disabled && hasKey && place.problem === null,
    disabled: settings.disabled,
    active: !settings.disabled && preload !== undefined && hasPreload(words, preload),
    preload: preload ?? null,
    directory: place,
    files: files.length,
    bytes: files.reduce((sum, size) => sum + size, 0),
    tickets: listed ? listed.length : null,
    hosts: listed ? new Set(listed.map(({ peer }) => peer.host)).size : null,
    key: {
      source: outcome.source,
      available: store !== undefined,
      creatable: outcome.creatable,
      reason: outcome.reason,
    },
  }
}

function inspect(path: string | undefined) {
  if (path === undefined) {
    const problem = 'this user has no cache directory; name one in TICKETKEEP_DIR'
    return { path: null, exists: false, mode: null, owner: null, problem }
  }
  const found = directoryProblem(path, false)
  const problem = found === undefined || found === 'absent' ? null : found
  try {
    const stats = lstatSync(path)
    const hasModes = process.platform !== 'win32'
    const mode = hasModes ? (stats.mode & 0o7777).toString(8).padStart(4, '0') : null
    return { path, exists: true, mode, owner: hasModes ? stats.uid : null, problem }
  } catch {
    return { path, exists: false, mode: null, owner: null, problem }
  }
}

/** The size of every ticket file, in bytes. */
function filesIn(directory: string | undefined): number[] {
  if (directory === undefined) return []
  const names = namesIn(directory).filter(isTicketFile)
  return names.flatMap((name) => regularFile(join(directory, name))?.size ?? [])
}

function describe(status: Status, { outcome }: OpenStore): Block[] {
  const { directory, key } = status
  const rights = directory.mode === null ? '' : `, mode ${directory.mode}, of ${ownerName(directory.owner)}`
  const blocks: Block[] = [
    {
      pairs: [
        ['tickets kept', status.keeping ? 'yes' : 'no'],
        ['switched on', switchedOn(status)],
        [
          'directory',
          directory.path === null
            ? 'none'
            : `${directory.path}${directory.exists ? rights : ' (not made yet)'}`,
        ],
        ['tickets', holdings(status)],
        ['key', `${key.source}: ${key.reason}`],
      ],
    },
  ]
  if (status.disabled)
    blocks.push('', 'TICKETKEEP_DISABLE or AUBE_DISABLE_TLS_TICKET_CACHE is set: unset it to keep tickets.')
  else if (directory.problem !== null) blocks.push('', `Nothing is kept: ${directory.problem}.`)
  else if (!status.keeping) blocks.push('', ...withoutKey(outcome))
  return blocks
}

function switchedOn({ active, disabled, preload }: Status): string {
  if (disabled) return 'no, disabled by the environment'
  if (preload === null) return 'no, the preload is missing; install ticketkeep again'
  return active ? 'yes, NODE_OPTIONS loads it' : 'not in this environment; eval "$(ticketkeep env)" does it'
}

function holdings({ files, bytes: size, tickets, hosts }: Status): string {
  if (files === 0) return 'none'
  const all = `${count(files, 'file')}, ${bytes(size)}`
  return tickets === null || hosts === null
    ? `${all}; without the key nothing is known of them`
    : `${count(tickets, 'ticket')} of ${count(hosts, 'host')}, in ${all}`
}

function withoutKey({ considered }: OpenStore['outcome']): Block[] {
  return [
    'Nothing is kept on disk, because no source gave a key:',
    { table: considered.map(({ source, state, reason }) => [`  ${source}`, state, reason]) },
    'Unlock or start a keychain, or make a key file of your own:',
    '  (umask 077; head -c 32 /dev/urandom | base64 > FILE); export TICKETKEEP_KEY_FILE=FILE',
    '"ticketkeep doctor" says what each source would need.',
  ]
}

/** A uid without a passwd entry, as containers have it, has no name. */
function ownerName(uid: number | null): string {
  try {
    const own = userInfo()
    if (own.uid === uid) return own.username
  } catch {}
  return `uid ${uid}`
}
