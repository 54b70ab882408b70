import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { bundle } from '../support/children.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { runInNode } from '../support/real-nodes.ts'

interface Seen {
  readonly short: string
  readonly detailed: string
  readonly x509: readonly string[]
}

let child: string
const folder = scratch()
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

beforeAll(async () => {
  child = await bundle(new URL('./peer-certificate-child.ts', import.meta.url))
  const root = await createAuthority()
  const { cert, key } = await (await root.intermediate()).issue({ names: ['a.test', '127.0.0.1'] })
  for (const maxVersion of VERSIONS) {
    writeFileSync(join(folder, maxVersion), JSON.stringify({ cert, key, ca: root.cert, maxVersion }))
  }
})

for (const line of NODE_LINES) {
  for (const version of VERSIONS) {
    describeWith(missingNode(line), `on Node ${line}, ${version}`, () => {
      let seen: Record<string, unknown> & { before: Seen; shown: Seen; shownLater: Seen }
      beforeAll(async () => {
        seen = JSON.parse(await runInNode(line, child, { args: [join(folder, version)] }))
      })

      it('getPeerCertificate shows on a resumed socket exactly what it showed in the full handshake', () => {
        const { before, shown } = seen
        expect(seen.length).toBe(3)
        expect(before.detailed).toContain('issuerCertificate')
        expect([shown.short, shown.detailed]).toEqual([before.short, before.detailed])
      })

      it('getPeerX509Certificate shows what it showed in the full handshake: the chain that the server sent', () => {
        const { before, shown } = seen
        expect(before.x509).toHaveLength(2)
        expect(shown.x509).toEqual(before.x509)
      })

      it('Node itself shows nothing there, and we neither where the session is not ours', () => {
        expect(seen.empty).toMatch(/^\[ (\{\}|null|undefined), undefined \]$/)
        expect(seen.notResumed).toBe(seen.empty)
      })

      it('what Node shows is not replaced', () => {
        expect(seen.fullShown).toEqual(seen.before)
      })

      it('a destroyed socket shows what it shows without us', () => {
        expect(seen.gone).toBe(seen.goneWithoutUs)
      })

      it('what a program writes into a certificate is not shown to the next that asks', () => {
        expect([seen.shownLater.short, seen.shownLater.detailed]).toEqual([
          seen.before.short,
          seen.before.detailed,
        ])
      })

      it('the functions do not show among the properties of the socket', () => {
        expect(seen.keys).toEqual([])
      })
    })
  }
}
