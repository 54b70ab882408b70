import { readFileSync } from 'node:fs'

/**
 * Where official builds of Node look for OpenSSL's configuration (`OPENSSLDIR` in deps/openssl of Node's sources). Node
 * reads only the section that its key `nodejs_conf` names.
 */
const COMPILED_IN: Partial<Record<NodeJS.Platform, string>> = {
  darwin: '/System/Library/OpenSSL/openssl.cnf',
  win32: 'C:\\Program Files\\Common Files\\SSL\\openssl.cnf',
}
const COMPILED_IN_ELSEWHERE = '/etc/ssl/openssl.cnf'

/** Enough for the crypto policies that Fedora, Red Hat and SUSE include. */
const MAX_INCLUDES = 4

/** Whether OpenSSL's configuration file sets nothing for Node. This is so for the files that distributions ship. */
export function isSystemConfigurationEmpty(
  path = COMPILED_IN[process.platform] ?? COMPILED_IN_ELSEWHERE,
): boolean {
  try {
    return isEmptyForNode(path, { left: MAX_INCLUDES })
  } catch (error) {
    const { code, path: missing } = error as NodeJS.ErrnoException
    return code === 'ENOENT' && missing === path
  }
}

/**
 * Accepts a subset of config(5): printable ASCII, no continued lines, and no directive except includes of single files
 * by absolute path. OpenSSL expands no variables in key names, so `nodejs_conf` has an effect only if it appears
 * literally in one of the files.
 */
function isEmptyForNode(path: string, includes: { left: number }): boolean {
  const text = readFileSync(path, 'utf8').replaceAll('\r\n', '\n')
  // OpenSSL ends or joins lines at some carriage returns and NULs, and skips a byte order mark.
  if (/[^\t\n\x20-\x7e]/.test(text) || text.includes('nodejs_conf')) return false
  return text.split('\n').every((line) => {
    if (line.trim().endsWith('\\')) return false
    // A directive may also follow a section name: `default::.include`.
    if (/^\s*#/.test(line) || !/\.(include|pragma)/.test(line)) return true
    const [, file] = /^\s*\.include(?:\s|\s*=)\s*(\/[\w./-]+)\s*$/.exec(line) ?? []
    return file !== undefined && includes.left-- > 0 && isEmptyForNode(file, includes)
  })
}
