import { join } from 'node:path'
import { folderOf, type NodeLine, type PinnedSet } from '../support/pinned.ts'
import type { Protocol } from './server.ts'

/** How the server is reached: `connect` and `secure` are tunnels of an `http://` and an `https://` proxy. */
export type Route = 'direct' | 'connect' | 'secure'

export interface Client {
  readonly name: string
  readonly speaks: Protocol
  /** Default: direct. */
  readonly routes?: readonly Route[]
  /** How it connects is up to Node or to what runs in it, so that the first server that speaks its protocol is enough. */
  readonly oneServer?: true
  /** Default: all. */
  readonly nodes?: readonly NodeLine[]
  /** The npm package, of a pinned set. Its version is shown. */
  readonly package?: { readonly name: string; readonly set: PinnedSet }
  /** An ES module, which has `url`, `host`, `port` and `proxy` (undefined on the direct route), and prints an answer. */
  readonly source?: string
  /** Or the words of a command. Its working folder is new, with `files` in it. */
  readonly command?: (place: Place) => readonly string[]
  readonly files?: (place: Place) => Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  /** What of the output says what it did; default: all, without times and paths. */
  readonly output?: RegExp
  /** It is no Node, or not only: ticketkeep is not in it. */
  readonly isNative?: true
}

export interface Place {
  /** The path of Node. */
  readonly node: string
  readonly url: string
  readonly proxy: string | undefined
}

export const ALL_ROUTES = ['direct', 'connect', 'secure'] as const

/** A client out of the pinned libraries. */
export const library = (
  name: string,
  more: Partial<Client> & Pick<Client, 'source'>,
  alias = name,
): Client => ({
  name: alias,
  speaks: 'https',
  package: { name, set: 'libraries' },
  ...more,
})

/** The path of a file of the pinned libraries, and of the pinned runtimes. */
export const inLibraries = (path: string) => join(folderOf('libraries'), 'node_modules', path)
export const inRuntimes = (path: string) => join(folderOf('runtimes'), 'node_modules', path)
