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
const MOST_INCLUDES = 4

/** Whether OpenSSL's own configuration file sets nothing for Node. It does not as distributions ship it. */
export function isSystemConfigurationEmpty(
  path = COMPILED_IN[process.platform] ?? COMPILED_IN_ELSEWHERE,
): boolean {
  try {
    return isEmptyForNode(path, { left: MOST_INCLUDES })
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}

/**
 * The grammar is that of config(5), of which this takes a part: no line that goes on in the next one, no pragma,
 * and of includes only single files by absolute path. OpenSSL expands nothing in the name of a key, so `nodejs_conf`
 * must stand in one of the files to have an effect.
 */
function isEmptyForNode(path: string, includes: { left: number }): boolean {
  const text = readFileSync(path, 'latin1')
  if (text.includes('nodejs_conf')) return false
  return text.split('\n').every((line) => {
    const trimmed = line.trim()
    if (trimmed.endsWith('\\')) return false
    if (!trimmed.startsWith('.')) return true
    const [, file] = /^\.include\s*=?\s*(\/[\w./-]+)$/.exec(trimmed) ?? []
    return file !== undefined && includes.left-- > 0 && isEmptyForNode(file, includes)
  })
}
