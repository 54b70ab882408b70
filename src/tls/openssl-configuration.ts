import { readFileSync } from 'node:fs'

/**
 * Where official builds of Node look for OpenSSL's configuration (`OPENSSLDIR` in deps/openssl of Node's sources).
 * Node reads only the section that the key `nodejs_conf` names there.
 */
const COMPILED_IN: Partial<Record<NodeJS.Platform, string>> = {
  darwin: '/System/Library/OpenSSL/openssl.cnf',
  win32: 'C:\\Program Files\\Common Files\\SSL\\openssl.cnf',
}
const COMPILED_IN_ELSEWHERE = '/etc/ssl/openssl.cnf'

/** What crypto policies of Fedora, Red Hat and SUSE include, and nothing deeper. */
const MAX_INCLUDES = 4

/** Whether OpenSSL's own configuration file sets nothing for Node. It does not as distributions ship it. */
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
 * The grammar is that of config(5), of which this takes a part: printable ASCII, no line that goes on in the next one,
 * and of directives only includes of single files by absolute path. OpenSSL expands nothing in the name of a key, so
 * `nodejs_conf` must stand in one of the files to have an effect.
 */
function isEmptyForNode(path: string, includes: { left: number }): boolean {
  const text = readFileSync(path, 'utf8').replaceAll('\r\n', '\n')
  // OpenSSL ends or joins lines at some carriage returns and NULs, and passes over a byte order mark.
  if (/[^\t\n\x20-\x7e]/.test(text) || text.includes('nodejs_conf')) return false
  return text.split('\n').every((line) => {
    if (line.trim().endsWith('\\')) return false
    // A directive is one behind the name of a section, too: `default::.include`.
    if (/^\s*#/.test(line) || !/\.(include|pragma)/.test(line)) return true
    const [, file] = /^\s*\.include(?:\s|\s*=)\s*(\/[\w./-]+)\s*$/.exec(line) ?? []
    return file !== undefined && includes.left-- > 0 && isEmptyForNode(file, includes)
  })
}
