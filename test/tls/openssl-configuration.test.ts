import { execFile } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { isSystemConfigurationEmpty } from '../../src/tls/openssl-configuration.ts'
import { cleanEnv } from '../support/children.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { type NodeLine, nodeBinary } from '../support/pinned.ts'

const folder = scratch()
const at = (name: string) => join(folder, name)
/** OpenSSL reads lines in pieces of this many characters. */
const PIECE = 510

/** A section that allows one cipher of TLS 1.2. `tls.getCiphers()` shows whether Node obeys it. */
const SECTION = `
[node_section]
ssl_conf = ssl_section
[ssl_section]
system_default = default_section
[default_section]
CipherString = AES256-SHA
MinProtocol = TLSv1.2
`
const KEY = 'nodejs_conf = node_section\n'
const OBEYED = KEY + SECTION

/** Files that others include. */
const FILES: Record<string, string> = {
  'node.cnf': OBEYED,
  'harmless.cnf': 'a = b\nc = d\n',
  'one-deep.cnf': `.include ${at('node.cnf')}\n`,
  'deep-1.cnf': `.include ${at('deep-2.cnf')}\n`,
  'deep-2.cnf': `.include ${at('deep-3.cnf')}\n`,
  'deep-3.cnf': `.include ${at('deep-4.cnf')}\n`,
  'deep-4.cnf': `.include ${at('deep-5.cnf')}\n`,
  'deep-5.cnf': `.include ${at('node.cnf')}\n`,
  'folder/node.cnf': OBEYED,
  'folder/readme.txt': 'not read',
}

beforeAll(() => {
  mkdirSync(at('folder'))
  for (const [name, text] of Object.entries(FILES)) writeFileSync(at(name), text)
})

const NODE = at('node.cnf')
const HARMLESS = at('harmless.cnf')

/** Spellings that real Nodes obey. */
const OBEYED_SPELLINGS: Record<string, string> = {
  'the key in the first lines': OBEYED,
  'the key without spaces': `nodejs_conf=node_section${SECTION}`,
  'the key with tabs and spaces': `\t nodejs_conf \t= \tnode_section  ${SECTION}`,
  'CRLF line ends': OBEYED.replaceAll('\n', '\r\n'),
  'no newline at its end': SECTION + KEY.replace(/^/, '[default]\n').trimEnd(),
  'the key in a section [default]': `${SECTION}[default]\n${KEY}`,
  'the key in a section [ default ]': `${SECTION}[ default ]\n${KEY}`,
  'the key with the name of its section': `${SECTION}[x]\ndefault::${KEY}`,
  'the key with a comment': `nodejs_conf = node_section # for Node${SECTION}`,
  'the key twice': `nodejs_conf = nowhere\n${OBEYED}`,
  'a quoted value': `nodejs_conf = "node_section"${SECTION}`,
  'a value from a variable': `v = node_section\nnodejs_conf = $v${SECTION}`,
  'a value from the environment': `nodejs_conf = $ENV::TK_SECTION${SECTION}`,
  'a key that continues on the next line': `nodejs_\\\nconf = node_section${SECTION}`,
  'a key with a line continuation after every letter': `${[...'nodejs_conf'].join('\\\n')} = node_section${SECTION}`,
  'a key that continues after CRLF': `nodejs_\\\r\nconf = node_section${SECTION}`,
  'a value that continues on the next line': `nodejs_conf = node_\\\nsection${SECTION}`,
  'a key behind a NUL, which joins two lines': `nodejs_\0\nconf = node_section${SECTION}`,
  'a key behind a NUL and other text': `nodejs_\0 = x\nconf = node_section${SECTION}`,
  'a key that continues at a carriage return': `${' '.repeat(PIECE - 9)}nodejs_\\\rconf = node_section${SECTION}`,
  'a key across the pieces of a long line': `${' '.repeat(PIECE - 4)}nodejs_conf = node_section${SECTION}`,
  'an include': `.include ${NODE}`,
  'an include with =': `.include = ${NODE}`,
  'an include with = and no space': `.include=${NODE}`,
  'an include after spaces': ` \t .include \t ${NODE}`,
  'an include with CRLF line ends': `a = b\r\n.include ${NODE}\r\n`,
  'an include of a file that includes': `.include ${at('one-deep.cnf')}`,
  'an include after others': `.include ${HARMLESS}\n.include ${NODE}`,
  'an include after one of a missing file': `.include ${at('missing.cnf')}\n.include ${NODE}`,
  'an include after four others': `${`.include ${HARMLESS}\n`.repeat(4)}.include ${NODE}`,
  'includes too deep to follow': `.include ${at('deep-1.cnf')}`,
  'an include of a folder': `.include ${at('folder')}`,
  'an include in quotes': `.include "${NODE}"`,
  'an include with a variable': `folder = ${folder}\n.include $folder/node.cnf`,
  'an include with a variable of the environment': '.include $ENV::TK_FOLDER/node.cnf',
  'an include with braces': `folder = ${folder}\n.include \${folder}/node.cnf`,
  'an include with a comment': `.include ${NODE} # for Node`,
  'an include with an escape': `.include ${folder}/nod\\e.cnf`,
  'an include that continues on the next line': `.inc\\\nlude ${NODE}`,
  'an include whose file name continues on the next line': `.include ${folder}/\\\nnode.cnf`,
  'an include behind a comment that does not end there': `#\\\n.include ${HARMLESS}\n.include ${NODE}`,
  'an include of a relative file in a folder that a pragma names': `.pragma includedir:${folder}\n.include node.cnf`,
  'an include below the name of a section': `x::.include ${NODE}`,
  'an include below the name of a section, with =': `x::.include = ${NODE}`,
  'an include below a section without a name': `::.include ${NODE}`,
  'an include behind a byte order mark': `\xef\xbb\xbf.include ${NODE}`,
  'an include behind a comment that ends at a carriage return': `#${'x'.repeat(PIECE - 2)}\r.include ${NODE}`,
  'an include behind a value that ends at a carriage return': `a=${'x'.repeat(PIECE - 3)}\r.include ${NODE}`,
  'an include in the middle of a section': `[ default ]\na = b\n.include ${NODE}\nc = d`,
  'a pragma before the key': `.pragma dollarid:true\n${OBEYED}`,
}

/** Spellings that no Node obeys, as found on real machines. All of them count as empty. */
const EMPTY: Record<string, string> = {
  nothing: '',
  'a comment': '# nothing\n',
  'OpenSSL’s own key, which Node does not read': `openssl_conf = node_section${SECTION}`,
  'Debian’s settings': `HOME = .
openssl_conf = openssl_init
config_diagnostics = 1
oid_section = new_oids
# .include filename
#.include fipsmodule.cnf
[ new_oids ]
tsa_policy1 = 1.2.3.4.1
[ CA_default ]
dir = ./demoCA
certs		= $dir/certs		# Where the issued certs are kept
[ req_distinguished_name ]
0.organizationName		= Organization Name (eg, company)
[ cmp ]
newkey = "" # "quoted" \\" escaped
[openssl_init]
providers = provider_sect
`,
  'Red Hat’s includes of its crypto policy': `openssl_conf = openssl_init\n[x]\n.include = ${HARMLESS}\n.include ${HARMLESS}\n`,
  'CRLF line ends': `# a\r\na = b\r\n.include ${HARMLESS}\r\n[x]\r\n`,
  'Node’s key with an escaped letter, whose backslash stays in the name': `nodejs\\_conf = node_section${SECTION}`,
  'Node’s key in capitals': `NODEJS_CONF = node_section${SECTION}`,
}

describe('a configuration does not count as empty if it has', () => {
  it.each(Object.entries(OBEYED_SPELLINGS))('%s', (_name, text) => {
    writeFileSync(at('tried.cnf'), text, 'latin1')
    expect(isSystemConfigurationEmpty(at('tried.cnf'))).toBe(false)
  })
})

describe('a configuration counts as empty if it has', () => {
  it.each(Object.entries(EMPTY))('%s', (_name, text) => {
    writeFileSync(at('tried.cnf'), text, 'latin1')
    expect(isSystemConfigurationEmpty(at('tried.cnf'))).toBe(true)
  })

  it('no file at all', () => {
    expect(isSystemConfigurationEmpty(at('missing.cnf'))).toBe(true)
  })
})

it('a folder does not count as empty', () => {
  expect(isSystemConfigurationEmpty(at('folder'))).toBe(false)
})

/** Whether a real Node does what each of these configurations says. */
async function obeyed(line: NodeLine, texts: Record<string, string>): Promise<Record<string, boolean>> {
  const results: Record<string, boolean> = {}
  const waiting = Object.entries(texts)
  const work = async (worker: number) => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const file = at(`${line}-${worker}.cnf`)
      writeFileSync(file, next[1], 'latin1')
      const { stdout } = await run(nodeBinary(line), [`--openssl-config=${file}`, '-e', COUNT], { env: ENV })
      results[next[0]] = Number(stdout) < 10
    }
  }
  await Promise.all([0, 1, 2].map(work))
  return results
}

const run = promisify(execFile)
const COUNT = "console.log(require('tls').getCiphers().length)"
const ENV = cleanEnv({ TK_SECTION: 'node_section', TK_FOLDER: folder })
const all = (texts: object, value: boolean) =>
  Object.fromEntries(Object.keys(texts).map((name) => [name, value]))

// OpenSSL 3.0 and 3.5.
for (const line of ['20', '26'] as const) {
  describeWith(missingNode(line), `Node ${line}`, () => {
    it('obeys all of these configurations that do not count as empty', async () => {
      expect(await obeyed(line, OBEYED_SPELLINGS)).toEqual(all(OBEYED_SPELLINGS, true))
    })

    it('obeys none of those that count as empty', async () => {
      expect(await obeyed(line, EMPTY)).toEqual(all(EMPTY, false))
    })
  })
}
