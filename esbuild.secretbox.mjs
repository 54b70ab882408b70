// Of tweetnacl what wire.cjs uses, the parts of secretbox: a fifth of it, and none of the tables that it computes as
// it is loaded. Cut out of the package as it is installed, and only of the release that was looked at.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const REVIEWED = '6bcd37a3b20dce913f82d4b23e4e2b661058b4b953df8a3f8c45d56ac4f72447' // 1.0.3, nacl-fast.js

/** Each part from one line to the line before another. */
const PARTS = [
  ['// Ported in 2014', 'var gf = '],
  ['function vn(', 'function crypto_stream_salsa20_xor('],
  ['function crypto_stream_salsa20(', 'function crypto_stream_xor('],
  ['/*\n* Port of Andrew', 'function crypto_secretbox('],
]

// Of each sum beyond 32 bits V8's interpreter makes an object before it is cut to 32 bits: 40 KB in the opening of one
// box, and a garbage collection in a process that would have none. So where both words have one sign, that
// of the first is turned, and the sum's afterwards.
const WORDS = [
  [80, /(\w+) = +(\w+) \+ +(\w+) \| 0;/g, 't = ~($2 ^ $3) & -0x80000000; $1 = ($2 ^ t) + $3 ^ t;'],
  [24, / >>> +0 & 0xff/g, ' & 0xff'],
  [2, /, u;/g, ', u, t;'],
]

function inSmallIntegers(source) {
  return WORDS.reduce((text, [count, from, to]) => {
    if (text.match(from)?.length !== count) throw new Error(`tweetnacl: not ${count} times ${from}`)
    return text.replaceAll(from, to)
  }, source)
}

/** @type {import('esbuild').Plugin} */
export const secretboxOnly = {
  name: 'secretbox-only',
  setup(build) {
    build.onLoad({ filter: /[\\/]tweetnacl[\\/]nacl-fast\.js$/ }, ({ path }) => {
      const source = readFileSync(path, 'utf8')
      if (createHash('sha256').update(source).digest('hex') !== REVIEWED) {
        throw new Error('another tweetnacl: look at what is cut out of it, and note its digest')
      }
      const parts = PARTS.map(([from, to]) =>
        source.slice(source.indexOf(`\n${from}`), source.indexOf(`\n${to}`)),
      )
      const exported = `module.exports={lowlevel:{${['crypto_stream', 'crypto_onetimeauth', 'crypto_onetimeauth_verify']}}}`
      return { contents: `${inSmallIntegers(parts.join('\n'))}\n${exported}\n` }
    })
  },
}
