import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, renameSync } from 'node:fs'
import { sep } from 'node:path'
import { batchName, isNameOfOurs, temporaryName } from './names.ts'
import { type Found, findDirectory, makeDirectory } from './private-directory.ts'
import { codeOf, readPrivateFile, removeFile, writePrivateFile } from './private-file.ts'
import type { SlowStore } from './slow-store.ts'

/** How long it counts that the directory was seen to be ours alone: milliseconds. */
const FOUND_LASTS = 10_000

/** How long one look into a folder serves a burst of connections: milliseconds. */
export const BURST = 1_000

/** In the place of a folder's name: the directory itself. */
export const TOP = '.'

/** How many folders' names are remembered. */
const MAX_LOOKS = 1024

/** What was in a folder when it was last looked into, and what this process has changed since. */
interface Look {
  /** UNIX milliseconds. */
  readonly at: number
  readonly names: Set<string>
  /** Those that are not to be found again before the next look. */
  readonly passed: Set<string>
  /** A link in the place of the folder, say: others may lead us out of our directory by it. */
  readonly isForeign: boolean
}

/**
 * The folders of a store and the files in them: every call to the file system on the way of a connection is made
 * here. Folders are not looked into again for what is remembered of them.
 */
export class PeerFolders {
  /** How many folders were made. */
  made = 0
  #found: { readonly at: number; readonly found: Found } | undefined
  readonly #looks = new Map<string, Look>()

  constructor(
    readonly directory: string,
    private readonly slow: SlowStore | undefined,
  ) {}

  /** Why nothing can be written, in words; undefined where it can, or where there is no directory yet. */
  get problem(): string | undefined {
    if (this.slow?.isLeftAlone) return `${this.directory} is left alone: ${this.slow.problem}`
    return this.unusable
  }

  /** The same, however slow the file system is: what must not be offered again is removed all the same. */
  get unusable(): string | undefined {
    const found = this.find()
    return found.state === 'unusable' ? found.problem : undefined
  }

  /** Whether there is anything to read, and it may be read. */
  get isUsable(): boolean {
    return !this.slow?.isLeftAlone && this.find().state === 'usable'
  }

  /** The directory, closed to other users where it was open to them. */
  find(): Found {
    const now = Date.now()
    if (this.#found !== undefined && Math.abs(now - this.#found.at) < FOUND_LASTS) return this.#found.found
    const found = this.#read(() => findDirectory(this.directory, 'close'))
    // Another process may make it at any time.
    this.#found = found.state === 'absent' ? undefined : { at: now, found }
    return found
  }

  /**
   * The names of ours in a folder but for those that were passed over.
   * @param maxAge how old what is remembered may be, in milliseconds
   */
  names(folder: string, maxAge: number): string[] {
    const { names, passed } = this.#look(folder, maxAge)
    return [...names].filter((name) => !passed.has(name))
  }

  /** All names of ours in a folder. */
  allNames(folder: string, maxAge: number): string[] {
    return [...this.#look(folder, maxAge).names]
  }

  /** Leaves a name out until the folder is looked into again. */
  passOver(folder: string, name: string): void {
    this.#looks.get(folder)?.passed.add(name)
  }

  read(folder: string, name: string): string | undefined {
    return this.#read(() => readPrivateFile(this.#path(folder, name)))
  }

  /** Whether it was this process that removed it. */
  remove(folder: string, name: string): boolean {
    this.#looks.get(folder)?.names.delete(name)
    return this.#write(() => removeFile(this.#path(folder, name)))
  }

  /**
   * Writes a batch: to a temporary file first, so that nobody reads half of it.
   * @param prefix of its name
   * @throws the error of `node:fs`, or one that says why there is no directory
   */
  add(folder: string, prefix: string, text: string, nowUnixSecs: number): string {
    // Of the content, which no two batches share, so that no source of random numbers is relied on.
    const random = createHash('sha256').update(text).digest('hex').slice(0, 16)
    const name = batchName(prefix, random)
    const temporary = temporaryName(nowUnixSecs, random)
    this.#writeInto(folder, temporary, text)
    try {
      this.#write(() => renameSync(this.#path(folder, temporary), this.#path(folder, name)))
    } catch (error) {
      removeFile(this.#path(folder, temporary))
      throw error
    }
    this.#looks.get(folder)?.names.add(name)
    return name
  }

  /**
   * Writes a file that may be found half written.
   * @throws as `add`
   */
  create(folder: string, name: string, text: string): void {
    this.#writeInto(folder, name, text)
    this.#looks.get(folder)?.names.add(name)
  }

  #writeInto(folder: string, name: string, text: string): void {
    if (this.#look(folder, Number.POSITIVE_INFINITY).isForeign)
      throw new Error(`${this.#path(folder)} is not a folder of ours`)
    const path = this.#path(folder, name)
    this.#write(() => {
      try {
        writePrivateFile(path, text)
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error
        this.#make(folder)
        writePrivateFile(path, text)
      }
    })
  }

  #make(folder: string): void {
    const problem = makeDirectory(this.directory)
    this.#found = undefined
    if (problem !== undefined) throw new Error(problem)
    try {
      mkdirSync(this.#path(folder), 0o700)
      this.made++
      this.#remember(folder, [], false)
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
  }

  #look(folder: string, maxAge: number): Look {
    const last = this.#looks.get(folder)
    if (last !== undefined && Math.abs(Date.now() - last.at) < maxAge) return last
    const path = this.#path(folder)
    return this.#read(() => {
      const kind = kindOf(path)
      return this.#remember(folder, kind === 'directory' ? readNames(path) : [], kind === 'other')
    })
  }

  #remember(folder: string, names: readonly string[], isForeign: boolean): Look {
    const ours = names.filter(isNameOfOurs)
    const look = { at: Date.now(), names: new Set(ours), passed: new Set<string>(), isForeign }
    this.#looks.delete(folder)
    if (this.#looks.size >= MAX_LOOKS) this.#looks.delete(this.#looks.keys().next().value!)
    this.#looks.set(folder, look)
    return look
  }

  #path(...names: string[]): string {
    return [this.directory, ...names].join(sep)
  }

  #read<T>(work: () => T): T {
    return this.slow ? this.slow.read(work) : work()
  }

  #write<T>(work: () => T): T {
    return this.slow ? this.slow.write(work) : work()
  }
}

/** What is at a path, links not followed. */
function kindOf(path: string): 'directory' | 'nothing' | 'other' {
  try {
    return lstatSync(path).isDirectory() ? 'directory' : 'other'
  } catch {
    return 'nothing'
  }
}

/** The names in a directory; none where it cannot be read, or is a link. */
export const namesIn = (directory: string): string[] =>
  kindOf(directory) === 'directory' ? readNames(directory) : []

function readNames(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
