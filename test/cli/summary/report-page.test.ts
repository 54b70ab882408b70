import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ReportContent, reportPage } from '../../../src/cli/summary/report-page.ts'
import type { Line } from '../../../src/runtime/summary-file.ts'
import { firstPixel, type Page, startChromium } from '../../support/chromium.ts'
import { scratch } from '../../support/directories.ts'
import { describeWith, missingCommands } from '../../support/missing.ts'
import { full, later, line, summaryOf } from './kit.ts'

const pageOf = (lines: readonly Line[], content: Partial<ReportContent> = {}) =>
  reportPage({ command: ['npm', 'ci'], startedAt: Date.UTC(2026, 0, 2), ...summaryOf(lines), ...content })

const SOME = [
  full('no ticket', { sessions: 2, times: { called: 1000, attempted: 1001, connected: 1051, secure: 1158 } }),
  later(200, line({ pid: 43 })),
  later(210, line({ host: 'cdn.example', port: 8443, protocol: 'TLSv1.3' })),
  later(
    220,
    line({ host: '', port: 0, handshake: 'failed', reason: 'failed: ECONNRESET', times: { called: 1000 } }),
  ),
]

/** Text that would take over the page if a name, a reason or the command line were not escaped. */
const HOSTILE = `</title></style></td></svg><script>document.title = 'owned'</script><img src=x onerror="document.title='owned'">'"&\``

const hostilePage = () =>
  pageOf(
    [
      full(HOSTILE, { host: HOSTILE, program: HOSTILE, protocol: HOSTILE }),
      full('no ticket', { host: HOSTILE }),
      { notSeen: HOSTILE },
    ],
    { command: [HOSTILE, HOSTILE] },
  )

describe('the page', () => {
  it('loads no script, style or other resource from elsewhere', () => {
    const page = pageOf(SOME)
    expect(page).not.toMatch(/<script|\bon\w+=|\bstyle=|\bsrc=|\bhref=|https?:|@import/i)
    expect(page).toContain('content="default-src &#39;none&#39;; style-src ')
  })

  it('escapes everything from a process or the command line', () => {
    const page = hostilePage()
    expect(page).not.toMatch(/<script|<img/)
    expect(page.match(/&#60;script&#62;/g)?.length).toBeGreaterThan(5)
    // The same number of elements as with harmless names.
    const harmless = pageOf(
      [
        full('x', { host: 'y', program: 'z', protocol: 'p' }),
        full('no ticket', { host: 'y' }),
        { notSeen: 'z' },
      ],
      { command: ['a', 'b'] },
    )
    const elements = (text: string) => text.match(/<\/?[a-z0-9]+/gi)
    expect(elements(page)).toEqual(elements(harmless))
  })

  it('shows at most 5,000 rows and counts all', () => {
    const page = pageOf(Array.from({ length: 5_010 }, (_, i) => later(i, line())))
    expect(page.match(/<tr role="row" class/g)).toHaveLength(5_000)
    expect(page).toContain('5,010 connections to registry.example: 5,010 resumed')
    expect(page).toContain('The first 5,000 connections are shown.')
  })
})

describeWith(missingCommands('chromium'), 'the page in Chromium', () => {
  const directory = scratch()
  let chromium: Page
  beforeAll(async () => {
    chromium = await startChromium()
  })
  afterAll(async () => {
    await chromium?.close()
  })
  const open = async (page: string, screen: { width: number; height: number; dark?: boolean } = WIDE) => {
    const file = `${directory}/page.html`
    writeFileSync(file, page)
    await chromium.open(file, screen)
  }
  const WIDE = { width: 1200, height: 900 }

  it('requests nothing and violates no policy', async () => {
    await open(pageOf(SOME))
    expect(chromium.requests.filter((url) => !url.endsWith('page.html'))).toEqual([])
    expect(chromium.messages).toEqual([])
  })

  it('runs and loads nothing from a hostile name, reason or command line', async () => {
    await open(hostilePage())
    expect(await chromium.evaluate('document.title')).toContain('<script>')
    expect(await chromium.evaluate("document.querySelectorAll('script, img, [onerror]').length")).toBe(0)
    expect(await chromium.evaluate('document.body.innerText')).toContain(HOSTILE)
    expect(chromium.requests.filter((url) => !url.endsWith('page.html'))).toEqual([])
  })

  it('stops an injected script by its policy', async () => {
    const script = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    await open(pageOf(SOME).replace('<main>', `<main>${script}`))
    expect(await chromium.evaluate('document.title')).toBe('TLS connections of npm')
    expect(chromium.messages.join()).toContain('Content Security Policy')
  })

  it.each([0, 1, 1000])('shows %i connections', async (n) => {
    await open(
      pageOf(Array.from({ length: n }, (_, i) => later(i * 20, line({ host: `h${i % 3}.example` })))),
    )
    expect(await chromium.evaluate("document.querySelectorAll('tbody tr').length")).toBe(n)
    expect(await chromium.evaluate("document.querySelectorAll('tbody rect.resumed').length")).toBe(n)
    const text = await chromium.evaluate<string>('document.body.innerText')
    if (n === 0) expect(text).toContain('No TLS connection of a Node program was seen.')
    else expect(text).toContain(`${n.toLocaleString('en')} resumed`)
  })

  it('draws each part of a connection at its time', async () => {
    await open(pageOf([line(), later(100, line())]))
    const parts = await chromium.evaluate<[string, number, number][]>(`
      (() => {
        const bar = document.querySelectorAll('td.bar svg')[1]
        const whole = bar.getBoundingClientRect()
        return [...bar.querySelectorAll('rect')].map((rect) => {
          const { left, width } = rect.getBoundingClientRect()
          return [rect.getAttribute('class'), (left - whole.left) / whole.width, width / whole.width]
        })
      })()`)
    const of = (name: string) => parts.find(([one]) => one === name)!.slice(1) as number[]
    // There are 270 ms from the first call to the last byte.
    const expected = { dns: [100, 10], tcp: [110, 50], resumed: [160, 54], wait: [214, 56] }
    for (const [name, ms] of Object.entries(expected)) {
      expect(of(name).map((share) => Math.round(share * 270))).toEqual(ms)
    }
  })

  it('is a table for a screen reader, with the result of each handshake in words', async () => {
    await open(pageOf(SOME))
    const nodes = await chromium.accessible()
    const names = (role: string) => nodes.filter((node) => node.role === role).map(({ name }) => name)
    expect(names('heading')).toEqual(expect.arrayContaining(['TLS connections of npm', 'cdn.example:8443']))
    expect(names('table')).toHaveLength(3)
    expect(names('columnheader').slice(0, 8)).toEqual([
      ...['start', 'when', 'DNS', 'TCP', 'TLS', 'first byte', 'handshake', 'program'],
    ])
    expect(names('cell').join('\n')).toMatch(/full TLSv1.2[\s\S]*resumed TLSv1.2[\s\S]*failed/)
  })

  it('stays a table for a screen reader on a narrow screen and fits that screen', async () => {
    await open(pageOf(SOME), { width: 360, height: 800 })
    expect(await chromium.evaluate('document.documentElement.scrollWidth')).toBe(360)
    const roles = (await chromium.accessible()).map(({ role }) => role)
    expect(roles).toEqual(expect.arrayContaining(['table', 'row', 'columnheader', 'cell']))
  })

  it('does not get wider with a long name without spaces', async () => {
    const host = Array(4).fill('a'.repeat(63)).join('.')
    await open(pageOf([full('no ticket', { host })], { command: ['x'.repeat(300)] }), {
      width: 360,
      height: 800,
    })
    expect(await chromium.evaluate('document.documentElement.scrollWidth')).toBe(360)
  })

  it('is light or dark as the reader prefers, with enough contrast', async () => {
    const contrast = `
      (() => {
        const shade = (colour) => {
          const [r, g, b] = colour.match(/[\\d.]+/g).map((value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
          return 0.2126 * r + 0.7152 * g + 0.0722 * b
        }
        const ground = (element) => {
          for (; element; element = element.parentElement) {
            const { backgroundColor } = getComputedStyle(element)
            if (backgroundColor !== 'rgba(0, 0, 0, 0)') return backgroundColor
          }
        }
        const texts = [...document.querySelectorAll('h1, p, dt, dd, li, h2, summary span, th, td, td b, td small')]
        return Math.min(...texts.map((text) => {
          const [a, b] = [shade(getComputedStyle(text).color), shade(ground(text))]
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
        }))
      })()`
    const grounds: number[] = []
    for (const dark of [false, true]) {
      await open(pageOf(SOME), { ...WIDE, dark })
      grounds.push(firstPixel(await chromium.screenshot())[0]!)
      // WCAG 2.2, 1.4.3.
      expect(await chromium.evaluate(contrast)).toBeGreaterThanOrEqual(4.5)
    }
    expect(grounds[0]).toBeGreaterThan(200)
    expect(grounds[1]).toBeLessThan(50)
  })
})
