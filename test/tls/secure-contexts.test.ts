import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { useBundle } from '../support/children.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES } from '../support/pinned.ts'
import { createAuthority } from '../support/pki.ts'
import { runInNode } from '../support/real-nodes.ts'

interface Found {
  readonly [what: string]: unknown
  readonly made: Record<string, unknown>
  readonly methods: string[]
  readonly changed: string[]
  readonly failures: [string, string][]
}

const child = useBundle(new URL('./secure-contexts-child.ts', import.meta.url))
let file: string
let ca: string
beforeAll(async () => {
  ca = (await createAuthority()).cert
  file = join(scratch(), 'ca.pem')
  writeFileSync(file, ca)
})

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `a secure context of Node ${line}`, () => {
    let found: Found
    beforeAll(async () => {
      found = JSON.parse(await runInNode(line, child.path, { args: [file] }))
    })

    it('is known with its options and the state of node:tls at its creation', () => {
      expect(found.made).toMatchObject({ ca, ciphers: 'HIGH' })
      expect(found).toMatchObject({ state: 'TLSv1.2', inherited: true, untouched: true })
    })

    it('has its default CAs noted if it was given none', () => {
      expect(found).toMatchObject({ needed: [false, true], defaultRoots: found.roots })
    })

    it('is unknown if it was made earlier or in another way', () => {
      expect(found).toMatchObject({ before: true, others: true })
    })

    it('is not noted if tls.connect made it', () => {
      expect(found.ofConnect).toBe(true)
    })

    it('that the program makes with an option of tls.connect is noted', () => {
      expect(found.withMinDHSize).toBe(true)
    })

    it('is unknown if its options are a proxy or have getters', () => {
      expect(found).toMatchObject({ withGetter: true, withInheritedGetter: true, proxy: true })
    })

    it('is no longer intact after a call of a native method that may change it', () => {
      const reads = found.methods.filter((name) => name.startsWith('get') || name === 'close')
      expect(found.methods).toEqual(expect.arrayContaining(['addCACert', 'addCRL', 'setCert', 'loadPKCS12']))
      expect([...found.changed, ...reads].sort()).toEqual([...found.methods].sort())
      expect(found).toMatchObject({ closed: true, added: false })
    })

    it('is no longer intact after its native half is replaced', () => {
      expect(found.replaced).toBe(false)
    })

    it('is made by a function that looks like Node’s own and throws the same errors', () => {
      expect(found).toMatchObject({ isOwn: true, looksAlike: true })
      for (const [theirs, ours] of found.failures) expect(ours).toBe(theirs)
    })
  })
}
