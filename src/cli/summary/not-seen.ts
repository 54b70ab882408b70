import { closeSync, openSync, readSync, realpathSync, statSync } from 'node:fs'
import { basename, delimiter, join, sep } from 'node:path'

/** Native programs that make no TLS connections themselves. The programs that they start may. */
const LAUNCHERS = [
  ...[
    'sh',
    'bash',
    'dash',
    'ash',
    'zsh',
    'fish',
    'ksh',
    'mksh',
    'busybox',
    'pwsh',
    'cmd.exe',
    'env',
    'xargs',
    'find',
  ],
  ...[
    'make',
    'gmake',
    'ninja',
    'time',
    'timeout',
    'nice',
    'ionice',
    'nohup',
    'setsid',
    'stdbuf',
    'taskset',
    'true',
  ],
  ...[
    'sudo',
    'doas',
    'su',
    'runuser',
    'setpriv',
    'unshare',
    'script',
    'strace',
    'ltrace',
    'perf',
    'coreutils',
  ],
  ...[
    'tini',
    'dumb-init',
    'catatonit',
    'dbus-run-session',
    'xvfb-run',
    'parallel',
    'watch',
    'flock',
    'chroot',
    'false',
  ],
]

/** The first bytes of programs for Linux, macOS (single and universal) and Windows. */
const NATIVE = ['7f454c46', 'cffaedfe', 'cefaedfe', 'cafebabe', '4d5a']

const MAX_SCRIPTS = 4

/**
 * The name of a command that is not a Node program, judged by the first bytes of its file or of its interpreter.
 * Undefined if it is a Node program, if it only starts other programs, or if that is not known.
 */
export function whoIsNotSeen(command: string, path = process.env.PATH ?? ''): string | undefined {
  let file = locate(command, path)
  for (let i = 0; file !== undefined && i < MAX_SCRIPTS; i++) {
    const head = firstBytes(file)
    if (NATIVE.some((magic) => head.toString('hex').startsWith(magic)))
      return isNode(file) || LAUNCHERS.includes(basename(file)) ? undefined : basename(command)
    const interpreter = interpreterOf(head.toString('latin1'))
    file = interpreter && locate(interpreter, path)
  }
  return undefined
}

/** `#!/usr/bin/env -S node --flag` names `node`. */
function interpreterOf(head: string): string | undefined {
  const words = /^#!\s*(.*)/.exec(head)?.[1]?.trim().split(/\s+/) ?? []
  const isEnv = basename(words[0] ?? '') === 'env'
  return isEnv ? words.slice(1).find((word) => !/^-|=/.test(word)) : words[0]
}

function locate(command: string, path: string): string | undefined {
  const isPath = command.includes('/') || command.includes(sep)
  const candidates = isPath ? [command] : path.split(delimiter).map((folder) => join(folder, command))
  const endings = process.platform === 'win32' ? ['', '.exe'] : ['']
  for (const candidate of candidates.flatMap((one) => endings.map((ending) => one + ending))) {
    try {
      const file = realpathSync(candidate)
      if (statSync(file).isFile()) return file
    } catch {}
  }
  return undefined
}

const isNode = (file: string) =>
  /^node(js)?[-.\d]*(\.exe)?$/i.test(basename(file)) || file === locate(process.execPath, '')

function firstBytes(file: string): Buffer {
  const bytes = Buffer.alloc(256)
  try {
    const fd = openSync(file, 'r')
    try {
      return bytes.subarray(0, readSync(fd, bytes))
    } finally {
      closeSync(fd)
    }
  } catch {
    return bytes.subarray(0, 0)
  }
}
