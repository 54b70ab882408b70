import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { WebSocket } from 'undici'
import { findCommand } from './missing.ts'

/** A page in a real, headless Chromium. */
export interface Page {
  /** Opens a file on a screen of this size. */
  open(file: string, screen: { width: number; height: number; dark?: boolean }): Promise<void>
  /** The value of an expression in the page. The policy of the page does not apply to it. */
  evaluate<T>(expression: string): Promise<T>
  /** The roles and names that a screen reader gets. */
  accessible(): Promise<{ role: string; name: string }[]>
  /** A PNG of the visible part or of the whole page. */
  screenshot(whole?: boolean): Promise<Buffer>
  /** The requests of the page since it was opened. */
  readonly requests: readonly string[]
  /** The lines of its console, including violations of its policy. */
  readonly messages: readonly string[]
  close(): Promise<void>
}

/** The fields of Chromium's messages that are used here. */
interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: {
    readonly request?: { readonly url: string }
    readonly entry?: { readonly text: string }
  }
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

interface Evaluated {
  readonly result: { readonly value: never }
  readonly exceptionDetails?: { readonly text: string }
}

interface Tree {
  readonly nodes: readonly { ignored: boolean; role?: { value: string }; name?: { value: string } }[]
}

/** Uses the Chrome DevTools Protocol. */
export async function startChromium(): Promise<Page> {
  const profile = mkdtempSync(join(tmpdir(), 'ticketkeep-chromium-'))
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run']
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync']
  const own = [`--user-data-dir=${profile}`, '--remote-debugging-port=0', '--hide-scrollbars', 'about:blank']
  const chromium = spawn(findCommand('chromium')!, [...flags, ...quiet, ...own], { stdio: 'ignore' })
  const ended = new Promise((done) => chromium.on('close', done))
  const portFile = join(profile, 'DevToolsActivePort')
  while (!existsSync(portFile) || !readFileSync(portFile, 'utf8').includes('\n')) await sleep(50)
  const [port] = readFileSync(portFile, 'utf8').split('\n')
  const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
    type: string
    webSocketDebuggerUrl: string
  }[]
  const socket = new WebSocket(targets.find(({ type }) => type === 'page')!.webSocketDebuggerUrl)
  await new Promise((done, fail) => {
    socket.addEventListener('open', done)
    socket.addEventListener('error', () => fail(new Error('Chromium cannot be reached')))
  })

  const requests: string[] = []
  const messages: string[] = []
  const waiting = new Map<number, (answer: Message) => void>()
  let loaded = () => {}
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as Message
    const { id, method, params } = message
    if (id !== undefined) waiting.get(id)?.(message)
    if (method === 'Network.requestWillBeSent') requests.push(params!.request!.url)
    if (method === 'Log.entryAdded') messages.push(params!.entry!.text)
    if (method === 'Page.loadEventFired') loaded()
  })
  let last = 0
  const ask = async <T>(method: string, params: object = {}): Promise<T> => {
    const id = ++last
    const answered = new Promise<Message>((done) => waiting.set(id, done))
    socket.send(JSON.stringify({ id, method, params }))
    const { result, error } = await answered
    if (error) throw new Error(`${method}: ${error.message}`)
    return result as T
  }
  for (const domain of ['Page', 'Network', 'Log', 'Runtime', 'Accessibility']) await ask(`${domain}.enable`)
  return {
    requests,
    messages,
    async open(file, { width, height, dark = false }) {
      const features = [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }]
      await ask('Emulation.setEmulatedMedia', { features })
      const metrics = { width, height, deviceScaleFactor: 1, mobile: false }
      await ask('Emulation.setDeviceMetricsOverride', metrics)
      requests.length = messages.length = 0
      const isLoaded = new Promise<void>((done) => (loaded = done))
      await ask('Page.navigate', { url: `file://${file}` })
      await isLoaded
    },
    async evaluate(expression) {
      const { result, exceptionDetails } = await ask<Evaluated>('Runtime.evaluate', {
        expression,
        returnByValue: true,
      })
      if (exceptionDetails) throw new Error(exceptionDetails.text)
      return result.value
    },
    async accessible() {
      const { nodes } = await ask<Tree>('Accessibility.getFullAXTree')
      return nodes
        .filter(({ ignored }) => !ignored)
        .map(({ role, name }) => ({ role: role?.value ?? '', name: name?.value ?? '' }))
    },
    async screenshot(whole = false) {
      const { data } = await ask<{ data: string }>('Page.captureScreenshot', { captureBeyondViewport: whole })
      return Buffer.from(data, 'base64')
    },
    async close() {
      socket.close()
      chromium.kill('SIGKILL')
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 20 })
    },
  }
}

/** Red, green and blue of the top left pixel of a PNG, which no filter changes. */
export function firstPixel(png: Buffer): number[] {
  const parts: Buffer[] = []
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    const length = png.readUInt32BE(at)
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + length))
  }
  return [...inflateSync(Buffer.concat(parts)).subarray(1, 4)]
}

const sleep = (ms: number) => new Promise((done) => setTimeout(done, ms))
