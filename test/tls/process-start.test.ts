import { describe, expect, it } from 'vitest'
import { looksAsStarted, releaseInWords } from '../../src/tls/process-start.ts'

const release = releaseInWords()
const real = { existsSync: () => true }

describe('the process looks as it did at the start', () => {
  it('if nothing was replaced', () => {
    expect(looksAsStarted(release, real)).toBe(true)
  })

  it('but not while process.platform is replaced', () => {
    const { platform } = process
    const set = (value: string) =>
      Object.defineProperty(process, 'platform', { value, configurable: true, enumerable: true })
    try {
      set('win32')
      expect(looksAsStarted(release, real)).toBe(platform === 'win32')
    } finally {
      set(platform)
    }
  })

  it('but not while the files of this machine are replaced, as mock-fs does', () => {
    const mocked = { existsSync: (path: unknown) => path !== process.execPath }
    expect(looksAsStarted(release, mocked)).toBe(false)
  })
})
