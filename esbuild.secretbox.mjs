// Of tweetnacl what wire.cjs uses, secretbox: a quarter of it, and none of the tables that it computes as it is
// loaded. Cut out of the package as it is installed, and only of the release that was looked at.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

const REVIEWED = '6bcd37a3b20dce913f82d4b23e4e2b661058b4b953df8a3f8c45d56ac4f72447' // 1.0.3, nacl-fast.js

/** Each part from one line to the line before another. */
const PARTS = [
  ['// Ported in 2014', 'var gf = '],
  ['function vn(', 'function set25519('],
]

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
      const exported = 'module.exports = { lowlevel: { crypto_secretbox, crypto_secretbox_open } }'
      return { contents: `${parts.join('\n')}\n${exported}\n` }
    })
  },
}
