import { beforeAll, expect, it } from 'vitest'
import { useBundle } from '../support/children.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, OLDER_NODES } from '../support/pinned.ts'
import { runInNode } from '../support/real-nodes.ts'

const child = useBundle(new URL('./node-functions-child.ts', import.meta.url))

const ALL = ['checkServerIdentity', 'createSecureContext', 'getPeerCertificate', 'isSessionReused']

for (const line of [...NODE_LINES, ...OLDER_NODES]) {
  describeWith(missingNode(line), `on Node ${line}`, () => {
    let found: Record<string, { own: boolean; mistaken: string[]; again: boolean; vouched: boolean }>
    beforeAll(async () => {
      found = JSON.parse(await runInNode(line, child.path))
    })

    const names = line === '20' ? ALL : [...ALL, 'getCACertificates']

    it('every function that decides trust is checked', () => {
      expect(Object.keys(found).sort()).toEqual([...names].sort())
    })

    it.each(names)('%s is recognised as Node’s own, each time', (name) => {
      expect(found[name]).toMatchObject({ own: true, again: true })
    })

    it.each(names)(
      'nothing else is mistaken for %s, even if Function.prototype.toString is patched',
      (name) => {
        expect(found[name]?.mistaken).toEqual([])
      },
    )

    it.each(names)('a wrapper of ticketkeep counts as %s and as no other function', (name) => {
      expect(found[name]?.vouched).toBe(true)
    })
  })
}
