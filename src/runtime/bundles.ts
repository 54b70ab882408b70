// Loads the other files of `dist`. The preload loads this file in every process, so it imports no module.

/** Functions of `fs` as they were when the preload ran: a program may replace them, in a test for example. */
export type OwnFs = Pick<typeof import('node:fs'), (typeof OF_FS)[number]>

const OF_FS = [
  ...([
    'constants',
    'readFileSync',
    'writeFileSync',
    'statSync',
    'statfsSync',
    'lstatSync',
    'fstatSync',
    'readdirSync',
  ] as const),
  ...(['openSync', 'readSync', 'writeSync', 'closeSync', 'fchmodSync', 'utimesSync', 'linkSync'] as const),
  ...([
    'renameSync',
    'unlinkSync',
    'rmdirSync',
    'mkdirSync',
    'accessSync',
    'readlinkSync',
    'symlinkSync',
    'existsSync',
  ] as const),
] as const

export function ownFs(): OwnFs {
  const fs = process.getBuiltinModule('node:fs') as unknown as Record<string, unknown>
  return Object.fromEntries(OF_FS.map((name) => [name, fs[name]])) as unknown as OwnFs
}

/**
 * The parts of `node:crypto` that the bundles use, captured when a bundle is loaded, because tests replace them later.
 */
const OF_CRYPTO = [
  ...['constants', 'createCipheriv', 'createDecipheriv', 'createHash', 'createHmac', 'createPrivateKey'],
  ...['createSecretKey', 'getFips', 'hash', 'randomBytes', 'X509Certificate'],
]

function ownCrypto(): object {
  const crypto = process.getBuiltinModule('node:crypto') as unknown as Record<string, unknown>
  return Object.fromEntries(OF_CRYPTO.map((name) => [name, crypto[name]]))
}

/** The file in which `ticketkeep precompile` stores the code that this Node compiled from a bundle. */
export const precompiledFile = (filename: string): string =>
  `${filename}.${process.version}-${process.arch}.v8`

/**
 * The digest at the start of that file. V8 itself compares only the length of the source, and would run damaged code.
 */
export const digestOf = (source: string, code: Uint8Array): Buffer =>
  process.getBuiltinModule('node:crypto').createHash('sha256').update(source).update(code).digest()

const DIGEST_BYTES = 32

/** An unmodified copy of this file of the published tweetnacl package. */
export const TWEETNACL = 'nacl-fast.min.js'

/**
 * Loads a file of `dist`. V8 compiles it from source, or uses the code that it compiled when the package's owner ran
 * `ticketkeep precompile`. That code is in the same folder and has the same owner, so whoever could replace it could
 * also replace the source.
 */
export function loadBundle<T>(dist: string, name: string, require: NodeJS.Require, fs: OwnFs): T {
  const filename = `${dist}/${name}`
  const source = asFunction(fs.readFileSync(filename, 'utf8'))
  const { Script } = process.getBuiltinModule('node:vm')
  const cachedData = readPrecompiled(filename, source, fs)
  const script = new Script(source, { filename, ...(cachedData && { cachedData }) })
  const bundle = { exports: {} as T }
  let tweetnacl: unknown
  const crypto = ownCrypto()
  // Bypasses Node's loader, where the program may have hooks.
  const load = (id: string) => {
    if (id === 'node:fs') return fs
    if (id === 'node:crypto') return crypto
    if (id === 'tweetnacl') return (tweetnacl ??= loadBundle(dist, TWEETNACL, require, fs))
    return process.getBuiltinModule(id) ?? require(id)
  }
  const { resolve } = require
  script.runInThisContext()(bundle.exports, Object.assign(load, { resolve }), bundle, filename)
  return bundle.exports
}

/** Wraps a CommonJS module into a function expression for `vm.Script`. */
export const asFunction = (source: string): string =>
  `(function (exports, require, module, __filename) {${source}\n})`

function readPrecompiled(filename: string, source: string, fs: OwnFs): Buffer | undefined {
  const path = precompiledFile(filename)
  try {
    if (!fs.existsSync(path)) return undefined
    // In a folder that others can write to, such as `/tmp`, they could add a file beside those that they cannot
    // replace.
    if (fs.lstatSync(path).uid !== fs.lstatSync(filename).uid) return undefined
    const file = fs.readFileSync(path)
    const code = file.subarray(DIGEST_BYTES)
    return digestOf(source, code).equals(file.subarray(0, DIGEST_BYTES)) ? code : undefined
  } catch {
    return undefined
  }
}
