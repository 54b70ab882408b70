import type { Stats } from 'node:fs'
import type { ProcessTrust } from '../tls/node-tls.ts'
import { makeRoom } from './listeners.ts'

/**
 * Loads one of our modules, which the build makes one function of its exports and `require`, with the code that V8
 * compiled of it in an earlier process: compiling costs a short program more than everything else we do. The
 * compiled code lies beside the source, as Python's does, one file for each version of Node; for those who do not
 * own the package, in their own cache directory. It is used only where it is as trustworthy as the source itself:
 * written by the source's owner or by this very user, and closed to everyone else; and where its digest says that it
 * is whole and of this very source: V8 checks no more of it than the source's length. (Windows shows no owners;
 * there, as elsewhere, whoever can put a file into this folder can put a module there that we would load.)
 *
 * V8 compiles what is called. The first process writes what it has, and one in which parts of the module have run
 * that had not yet, as the module's `hasRun` tells, adds those.
 *
 * @param trust the flags of the process, under which V8 compiles
 * @param fs to read it with
 * @param ownFs for the module, in the place of `node:fs`
 */
export function loadCompiled<T>(
  folder: string,
  name: string,
  require: NodeJS.Require,
  trust: ProcessTrust,
  fs: OwnFs,
  ownFs?: OwnFs,
): T {
  const { Script } = process.getBuiltinModule('node:vm')
  const path = `${folder}/${name}.cjs`
  // First: of a source that is replaced meanwhile the stamp is that of the one before.
  const stats = fs.statSync(path)
  const source = fs.readFileSync(path, 'utf8')
  const us = process.geteuid?.() ?? stats.uid
  const own = us === stats.uid ? undefined : compiledFolder(fs)
  const file = `/${name}.${process.version}-${process.platform}-${process.arch}`
  const beside = `${folder}${file}.v8`
  // Of several packages, each has code of its own there.
  const compiled = own === undefined ? beside : `${own}${file}-${stats.ino}.v8`
  let cached = readCompiled(fs, compiled, source, stats, us)
  if (own !== undefined) cached ??= readCompiled(fs, beside, source, stats, stats.uid)
  const script = new Script(source, { filename: path, cachedData: cached?.data })
  const exported = {} as T & { readonly hasRun?: () => number }
  // Straight to Node's own modules: the way through its loader, with its hooks, is several times as long.
  const load = (name: string) =>
    (name === 'node:fs' && ownFs) || (process.getBuiltinModule(name) ?? require(name))
  script.runInThisContext()(exported, Object.assign(load, { resolve: require.resolve }))
  // V8 takes code only under the flags that it was compiled under. The common ones have it, not the first ones.
  const rejected = script.cachedDataRejected === true
  const known = rejected ? undefined : cached?.parts
  if (rejected ? isWithoutFlags(trust) : known === undefined || known < ALL_PARTS) {
    makeRoom(process, 1)
    process.once('exit', () => {
      const ran = process.uptime() < BRIEF ? (exported.hasRun?.() ?? ALL_PARTS) : 0
      if (known !== undefined && (ran & ~known) === 0) return
      try {
        // What one process in many does is not in the file that all of them read.
        const { saveCompiled } = require('./save-compiled.cjs') as typeof import('./save-compiled.ts')
        const parts = ran | (known ?? 0)
        saveCompiled({
          script,
          parts,
          atLeast: rejected ? 0 : (cached?.data.length ?? 0),
          source,
          stats,
          compiled,
          own,
        })
      } catch {}
    })
  }
  return exported
}

// A digest of all that follows: the digest of the source, its stamp, the parts that have run, the code.
const DIGEST = 64
const SOURCE = 2 * DIGEST
const STAMP = SOURCE + 96

/** Functions of `fs` as they were when the process began. */
export type OwnFs = Pick<
  typeof import('node:fs'),
  'closeSync' | 'constants' | 'fstatSync' | 'openSync' | 'readFileSync' | 'readSync' | 'statSync'
>

/** Seconds in which V8 throws away no code that has run: after some 30 it may. */
const BRIEF = 10

/** All the parts of a module as the bits of a number: those of any, and of one that has no `hasRun`. */
export const ALL_PARTS = 0b1111

/** Eight characters, so that the code lies where words begin: V8 copies it first where it does not. */
const PARTS = 8
export const partsOf = (parts: number): string => parts.toString().padStart(PARTS)

/** SHA-256, in hexadecimal: 64 characters. */
export const digestOf = (bytes: Uint8Array | string): string =>
  process.getBuiltinModule('node:crypto').hash('sha256', bytes)

/** What changes with every change of a file, whatever clock and `utimes` say. Saves digesting it again. */
export const stampOf = ({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string =>
  `${dev} ${ino} ${size} ${mtimeMs} ${ctimeMs}`.padEnd(STAMP - SOURCE)

function isWithoutFlags({ execArgv, env }: ProcessTrust): boolean {
  return !/(^| )--(?!require|import)/.test([...execArgv, env.NODE_OPTIONS].join(' '))
}

/**
 * Where a user keeps compiled code of a package that is somebody else's: `ticketkeep/compiled` in the cache directory.
 * Undefined where there is no such directory, or it could be another user's: of a HOME that came along by `sudo`, say,
 * nothing is run.
 */
export function compiledFolder({ statSync }: Pick<OwnFs, 'statSync'>): string | undefined {
  const { env, geteuid, platform } = process
  // env-paths says the same, and takes milliseconds to load.
  const given = platform !== 'darwin' && env.XDG_CACHE_HOME
  const base = given || env.HOME
  try {
    const { uid, mode } = statSync(base || '')
    if (!base?.startsWith('/') || uid !== geteuid?.() || (mode & 0o022) !== 0) return undefined
    const caches = given ? '' : platform === 'darwin' ? '/Library/Caches' : '/.cache'
    return `${base}${caches}/ticketkeep/compiled`
  } catch {
    return undefined
  }
}

/** @param owner the only one whose file it may be: a uid */
function readCompiled(fs: OwnFs, compiled: string, source: string, ours: Stats, owner: number) {
  const { closeSync, constants, fstatSync, openSync, readSync } = fs
  let fd: number | undefined
  try {
    // The open file itself is asked whose it is: in a HOME that is somebody else's, names may change at any time.
    fd = openSync(compiled, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const stats = fstatSync(fd)
    const isOpen = (stats.mode & 0o022 & ~ours.mode) !== 0
    if (!stats.isFile() || isOpen || stats.uid !== owner) return undefined
    const bytes = Buffer.allocUnsafeSlow(stats.size)
    readSync(fd, bytes)
    const from = (start: number) => new Uint8Array(bytes.buffer, start)
    const head = bytes.toString('latin1', 0, STAMP + PARTS)
    if (head.slice(0, DIGEST) !== digestOf(from(DIGEST))) return undefined
    const isOfSource =
      head.slice(SOURCE, STAMP) === stampOf(ours) || head.slice(DIGEST, SOURCE) === digestOf(source)
    if (!isOfSource) return undefined
    return { parts: Number(head.slice(STAMP)), data: from(STAMP + PARTS) }
  } catch {
    return undefined
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
