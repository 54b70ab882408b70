import type { Script } from 'node:vm'

/**
 * Loads one of our modules, a function of `module` and `require`, with the code that V8 compiled of it in an earlier process: compiling costs a short
 * program more than everything else we do. The compiled code lies beside the source, as Python's does, one file
 * for each version of Node. It is used and written only where it is as trustworthy as the source itself, by the
 * same owner and closed to everyone else, and where its digest holds (V8 checks none of its content).
 *
 * V8 compiles what is called: the first process writes what it has, and, where the module exports `hasRun`, the
 * first one in which all of it has run that as a rule does writes it again.
 */
export function loadCompiled<T>(folder: string, name: string, require: NodeJS.Require): T {
  const { readFileSync } = require('node:fs') as typeof import('node:fs')
  const vm = require('node:vm') as typeof import('node:vm')
  const source = `${folder}/${name}.cjs`
  const compiled = `${folder}/${name}.${process.version}-${process.arch}.v8`
  const cached = readCompiled(source, compiled, require)
  const script = new vm.Script(readFileSync(source, 'utf8'), { filename: source, cachedData: cached?.data })
  const module = { exports: {} as T }
  script.runInThisContext()(module, require)
  const hasRun = () => (module.exports as { hasRun?: () => boolean }).hasRun?.() ?? true
  if (!cached?.complete) {
    process.once('exit', () => {
      if (!cached || hasRun()) writeCompiled(script, hasRun(), source, compiled, require)
    })
  }
  return module.exports
}

// A digest of what follows: a byte that says whether the code is complete, and the code.
const DIGEST = 32

function readCompiled(source: string, compiled: string, require: NodeJS.Require) {
  const fs = require('node:fs') as typeof import('node:fs')
  const { hash } = require('node:crypto') as typeof import('node:crypto')
  try {
    const stats = fs.lstatSync(compiled, { throwIfNoEntry: false })
    if (stats === undefined) return undefined
    const ours = fs.statSync(source)
    const open = (stats.mode & 0o022 & ~ours.mode) !== 0
    if (open || !stats.isFile() || stats.uid !== ours.uid || stats.mtimeMs < ours.mtimeMs) return undefined
    const bytes = fs.readFileSync(compiled)
    const content = bytes.subarray(DIGEST)
    if (!bytes.subarray(0, DIGEST).equals(hash('sha256', content, 'buffer'))) return undefined
    return { complete: content[0] === 1, data: content.subarray(1) }
  } catch {
    return undefined
  }
}

/** At the end of a process: by then V8 has compiled what a connection needs. */
function writeCompiled(
  script: Script,
  complete: boolean,
  source: string,
  compiled: string,
  require: NodeJS.Require,
): void {
  const fs = require('node:fs') as typeof import('node:fs')
  const { dirname } = require('node:path') as typeof import('node:path')
  const { hash } = require('node:crypto') as typeof import('node:crypto')
  const temporary = `${compiled}.${process.pid}`
  try {
    if (fs.statSync(source).uid !== (process.geteuid?.() ?? 0)) return
    fs.accessSync(dirname(source), fs.constants.W_OK)
    const content = Buffer.concat([Buffer.of(complete ? 1 : 0), script.createCachedData()])
    const digest = hash('sha256', content, 'buffer')
    fs.writeFileSync(temporary, Buffer.concat([digest, content]), { flag: 'wx', mode: 0o644 })
    fs.renameSync(temporary, compiled)
  } catch {
    fs.rmSync(temporary, { force: true })
  }
}
