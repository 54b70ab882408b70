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
  /** Node, or a library in it, makes the connection, so one server of the protocol is enough. */
  readonly oneServer?: true
  /** Default: all. */
  readonly nodes?: readonly NodeLine[]
  /** The npm package, from a pinned set. The page shows its version. */
  readonly package?: { readonly name: string; readonly set: PinnedSet }
  /** The source of an ES module with `url`, `host`, `port` and `proxy` (undefined on the direct route) that prints an answer. */
  readonly source?: string
  /** Or a command line. Its working folder is new and contains `files`. */
  readonly command?: (place: Place) => readonly string[]
  readonly files?: (place: Place) => Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  /** The part of the output that is compared. Default: everything but times and paths. */
  readonly output?: RegExp
  /** It is not Node, or not only Node, so ticketkeep is not in it. */
  readonly isNative?: true
}

export interface Place {
  /** The path of Node. */
  readonly node: string
  readonly url: string
  readonly proxy: string | undefined
}

export const ALL_ROUTES = ['direct', 'connect', 'secure'] as const

/** A client from the pinned libraries. */
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

/** The path of a file of the pinned libraries or of the pinned runtimes. */
export const inLibraries = (path: string) => join(folderOf('libraries'), 'node_modules', path)
export const inRuntimes = (path: string) => join(folderOf('runtimes'), 'node_modules', path)
