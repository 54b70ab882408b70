import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, renameSync } from 'node:fs'
import { sep } from 'node:path'
import { batchName, isNameOfOurs, temporaryName } from './names.ts'
import { type Found, findDirectory, makeDirectory } from './private-directory.ts'
import { codeOf, readPrivateFile, removeFile, writePrivateFile } from './private-file.ts'
import type { SlowStore } from './slow-store.ts'

/** How long the result of checking the directory is reused: milliseconds. */
const FOUND_LASTS = 10_000

/** How long one listing of a folder is reused, for a burst of connections: milliseconds. */
export const BURST = 1_000

/** Stands for the top directory, in place of a folder's name. */
export const TOP = '.'

/** The most folders whose listing is remembered. */
const MAX_LOOKS = 1024

/** The last listing of a folder, updated with the changes of this process. */
interface Look {
  /** UNIX milliseconds. */
  readonly at: number
  readonly names: Set<string>
  /** Names that are skipped until the folder is listed again. */
  readonly passed: Set<string>
  /** Whether the path is not a directory. It may be a symbolic link, by which others could make us write elsewhere. */
  readonly isForeign: boolean
}

/**
 * The folders of a store and their files. Every file system call that a connection needs is made here. Listings are
 * cached.
 */
export class PeerFolders {
  /** The number of folders made. */
  made = 0
  #found: { readonly at: number; readonly found: Found } | undefined
  readonly #looks = new Map<string, Look>()

  constructor(
    readonly directory: string,
    private readonly slow: SlowStore | undefined,
  ) {}

  /** Why nothing can be written, as a phrase for people. Undefined if it can, or if there is no directory yet. */
  get problem(): string | undefined {
    if (this.slow?.isLeftAlone) return `${this.directory} is left alone: ${this.slow.problem}`
    return this.unusable
  }

  /** Like `problem`, but ignores a slow file system: tickets that must not be offered again are removed even then. */
  get unusable(): string | undefined {
    const found = this.find()
    return found.state === 'unusable' ? found.problem : undefined
  }

  /** Whether the directory exists and may be read. */
  get isUsable(): boolean {
    return !this.slow?.isLeftAlone && this.find().state === 'usable'
  }

  /** Checks the directory, and removes the access of other users. */
  find(): Found {
    const now = Date.now()
    if (this.#found !== undefined && Math.abs(now - this.#found.at) < FOUND_LASTS) return this.#found.found
    const found = this.#read(() => findDirectory(this.directory, 'close'))
    // Absence is not cached: another process may make the directory at any time.
    this.#found = found.state === 'absent' ? undefined : { at: now, found }
    return found
  }

  /**
   * The names of our files in a folder, without the skipped ones.
   * @param maxAge how old a cached listing may be, in milliseconds
   */
  names(folder: string, maxAge: number): string[] {
    const { names, passed } = this.#look(folder, maxAge)
    return [...names].filter((name) => !passed.has(name))
  }

  /** All names of our files in a folder. */
  allNames(folder: string, maxAge: number): string[] {
    return [...this.#look(folder, maxAge).names]
  }

  /** Skips a name until the folder is listed again. */
  passOver(folder: string, name: string): void {
    this.#looks.get(folder)?.passed.add(name)
  }

  read(folder: string, name: string): string | undefined {
    return this.#read(() => readPrivateFile(this.#path(folder, name)))
  }

  /** @returns whether this process removed the file */
  remove(folder: string, name: string): boolean {
    this.#looks.get(folder)?.names.delete(name)
    return this.#write(() => removeFile(this.#path(folder, name)))
  }

  /**
   * Writes a batch through a temporary file, so that nobody reads a partial one.
   * @param prefix of its name
   * @throws the error of `node:fs`, or one that says why there is no directory
   */
  add(folder: string, prefix: string, text: string, nowUnixSecs: number): string {
    // Derived from the content, which is unique to each batch. So the name does not depend on a random source.
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
   * Writes a file in place: readers may see it partially written.
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

/** The kind of thing at a path. Does not follow links. */
function kindOf(path: string): 'directory' | 'nothing' | 'other' {
  try {
    return lstatSync(path).isDirectory() ? 'directory' : 'other'
  } catch {
    return 'nothing'
  }
}

/** The names in a directory. Empty if it cannot be read, or is a link. */
export const namesIn = (directory: string): string[] =>
  kindOf(directory) === 'directory' ? readNames(directory) : []

function readNames(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
