import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { useBundle } from '../support/children.ts'
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

const child = useBundle(new URL('./peer-certificate-child.ts', import.meta.url))
const folder = scratch()
const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const

beforeAll(async () => {
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
        seen = JSON.parse(await runInNode(line, child.path, { args: [join(folder, version)] }))
      })

      it('getPeerCertificate returns on a resumed socket what it returned after the full handshake', () => {
        const { before, shown } = seen
        expect(seen.length).toBe(3)
        expect(before.detailed).toContain('issuerCertificate')
        expect([shown.short, shown.detailed]).toEqual([before.short, before.detailed])
      })

      it('getPeerX509Certificate returns on a resumed socket the chain that the server sent', () => {
        const { before, shown } = seen
        expect(before.x509).toHaveLength(2)
        expect(shown.x509).toEqual(before.x509)
      })

      it('a resumed socket with a session of the program shows no certificate, as in Node itself', () => {
        expect(seen.empty).toMatch(/^\[ (\{\}|null|undefined), undefined \]$/)
        expect(seen.notResumed).toBe(seen.empty)
      })

      it('a socket after a full handshake shows what Node shows', () => {
        expect(seen.fullShown).toEqual(seen.before)
      })

      it('a destroyed socket shows what it shows without ticketkeep', () => {
        expect(seen.gone).toBe(seen.goneWithoutUs)
      })

      it('changes that a program makes to a returned certificate do not show in the next one', () => {
        expect([seen.shownLater.short, seen.shownLater.detailed]).toEqual([
          seen.before.short,
          seen.before.detailed,
        ])
      })

      it('the replaced methods are not enumerable', () => {
        expect(seen.keys).toEqual([])
      })
    })
  }
}
