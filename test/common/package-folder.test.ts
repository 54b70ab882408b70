import { expect, test } from 'vitest'
import { environmentWithoutUs, withoutPreload } from '../../src/common/package-folder.ts'

test('the preload is removed from NODE_OPTIONS, and the rest stays as written', () => {
  const ours = '--require /opt/lib/node_modules/ticketkeep/dist/preload.cjs'
  const quoted = String.raw`--require "/opt/my \"libs\"/ticketkeep/dist/preload.cjs"`
  const loader = '--require=/home/ann/.config/ticketkeep/loader.cjs'
  for (const preload of [ours, ours.replace(' ', '='), quoted, '-r ticketkeep/preload', loader]) {
    expect(withoutPreload(`--max-old-space-size=99 ${preload} -r "./a b.cjs"`, undefined)).toBe(
      '--max-old-space-size=99 -r "./a b.cjs"',
    )
    expect(withoutPreload(preload, undefined)).toBe('')
  }
  expect(withoutPreload('-r /src/copy/dist/preload.cjs', '/src/copy')).toBe('')
  expect(withoutPreload('-r /other/dist/preload.cjs', '/src/copy')).toBe('-r /other/dist/preload.cjs')
})

test('a child that must run without ticketkeep inherits everything else', () => {
  expect(environmentWithoutUs({ PATH: '/bin', NODE_OPTIONS: '-r ticketkeep/preload' })).toEqual({
    PATH: '/bin',
    TICKETKEEP_DISABLE: '1',
  })
})
