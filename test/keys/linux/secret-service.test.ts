import { spawnSync } from 'node:child_process'
import { chownSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SecretService } from '../../../src/keys/linux/secret-service.ts'
import { sessionBusAddress } from '../../../src/keys/linux/session-bus.ts'
import { scratch } from '../../support/directories.ts'
import {
  askInProcess,
  missingSecretService,
  type SecretServiceBus,
  startSecretService,
} from '../../support/keychains.ts'
import { describeWith, missingRoot } from '../../support/missing.ts'

const account = userInfo().username
const ask = (settings: { sessionBus?: string | undefined; runtimeDirectory?: string | undefined }) =>
  new SecretService({ sessionBus: undefined, runtimeDirectory: undefined, ...settings }, account).read({
    now: 0,
    hold: true,
    signal: new AbortController().signal,
  })

describeWith(missingSecretService(), 'an unlocked GNOME Keyring', () => {
  let bus: SecretServiceBus
  beforeAll(async () => {
    bus = await startSecretService('unlocked')
  })
  afterAll(() => bus.close())

  test('has no key, stores one, and returns it to every process and to @napi-rs/keyring', async () => {
    const ask = { settings: { ...bus.settings, source: 'keychain' as const } }
    expect(await askInProcess(ask)).toMatchObject({ source: 'keychain', keys: undefined, creatable: true })
    const made = await askInProcess({ ...ask, task: 'create' })
    expect(made?.keys?.current).toHaveLength(32)
    expect((await askInProcess(ask))?.keys).toEqual(made?.keys)
    expect((await askInProcess({ ...ask, task: 'create' }))?.keys).toEqual(made?.keys)

    expect(bus.search()).toMatch(new RegExp(`attribute\\.username = ${account}`))
    const native = spawnSync(
      process.execPath,
      [
        '-e',
        `const { Entry } = require('@napi-rs/keyring')
         const entry = new Entry('ticketkeep', ${JSON.stringify(account)}, { linux: { store: 'secret-service' } })
         process.stdout.write(Buffer.from(entry.getSecret()))`,
      ],
      { env: { ...process.env, ...bus.env } },
    )
    expect(native.stdout.includes(Buffer.from(made!.keys!.current))).toBe(true)
  })

  test('holds one key, even if @napi-rs/keyring wrote it', async () => {
    const replaced = spawnSync(
      process.execPath,
      [
        '-e',
        `const { Entry } = require('@napi-rs/keyring')
         new Entry('ticketkeep', ${JSON.stringify(account)}, { linux: { store: 'secret-service' } }).setSecret(Buffer.of(1))`,
      ],
      { env: { ...process.env, ...bus.env } },
    )
    expect(replaced.status).toBe(0)
    expect(await ask(bus.settings)).toMatchObject({
      state: 'refused',
      reason: expect.stringMatching(/did not write/),
    })
    expect(bus.search().match(/^\[/gm)).toHaveLength(1)
    const settings = { ...bus.settings, source: 'keychain' as const }
    // foreign items are not overwritten
    expect(await askInProcess({ settings, task: 'create' })).toMatchObject({ keys: undefined })
    expect(await ask(bus.settings)).toMatchObject({ state: 'refused' })
  })
})

describeWith(missingSecretService(), 'a Secret Service that cannot be used', () => {
  let bus: SecretServiceBus | undefined
  afterEach(async () => {
    bus?.daemon?.kill('SIGCONT')
    await bus?.close()
  })

  test('is reported as locked, with or without a key in it, and no second key is made', async () => {
    bus = await startSecretService('unlocked')
    const settings = { ...bus.settings, source: 'keychain' as const }
    bus.lock()
    expect(await ask(bus.settings)).toMatchObject({
      state: 'unavailable',
      reason: 'the Secret Service is locked',
    })
    expect(await askInProcess({ settings, task: 'create' })).toMatchObject({
      keys: undefined,
      creatable: false,
    })
    await bus.close()
    bus = await startSecretService('unlocked')
    await askInProcess({ settings: { ...settings, ...bus.settings }, task: 'create' })
    bus.lock()
    expect(await ask(bus.settings)).toMatchObject({
      state: 'unavailable',
      reason: 'the Secret Service is locked',
    })
    const again = await askInProcess({ settings: { ...settings, ...bus.settings }, task: 'rotate' })
    expect(again).toMatchObject({ keys: undefined, creatable: false })
  })

  test('is reported as having no collection or as missing on the bus', async () => {
    bus = await startSecretService('virgin')
    expect(await ask(bus.settings)).toMatchObject({
      state: 'unavailable',
      reason: 'the Secret Service has no default collection',
    })
    await bus.close()
    bus = await startSecretService('none')
    expect(await ask(bus.settings)).toMatchObject({
      state: 'unavailable',
      reason: 'no Secret Service runs on the session bus',
    })
  })

  test('delays neither the program nor its exit when it is stopped', async () => {
    bus = await startSecretService('unlocked')
    bus.daemon!.kill('SIGSTOP')
    const program = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { createRequire } from 'node:module'
         const { fetchKeys } = createRequire(import.meta.url)(process.argv[1])
         fetchKeys(JSON.parse(process.argv[2]), () => console.log('answered'))`,
        await bundledChain(),
        JSON.stringify({ source: 'keychain', sessionBus: bus.env.DBUS_SESSION_BUS_ADDRESS }),
      ],
      { encoding: 'utf8', timeout: 4000 },
    )
    // the process ends by itself, long before the connection to the bus is given up
    expect(program).toMatchObject({ status: 0, stdout: '', stderr: '' })
  })

  test('is reported as missing when there is no bus', async () => {
    expect(await ask({ runtimeDirectory: '/nonexistent' })).toMatchObject({
      state: 'unavailable',
      reason: /./,
    })
    for (const sessionBus of [
      'unix:path=/nonexistent/bus',
      'tcp:host=127.0.0.1,port=1',
      'autolaunch:',
      '\n',
    ]) {
      expect(await ask({ sessionBus })).toMatchObject({ state: 'unavailable' })
    }
  })
})

async function bundledChain(): Promise<string> {
  const { build } = await import('esbuild')
  const outfile = join(scratch(), 'chain.cjs')
  await build({
    entryPoints: ['src/keys/chain.ts'],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    outfile,
    packages: 'external',
  })
  return outfile
}

describe.skipIf(process.platform === 'win32')('a hostile bus', () => {
  let server: Server | undefined
  const sockets = new Set<Socket>()
  const folder = scratch()
  const path = join(folder, 'bus')
  const sessionBus = `unix:path=${path}`
  afterEach(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server?.close(resolve))
  })

  const serve = (say: (socket: Socket) => void) =>
    new Promise<void>((resolve) => {
      server = createServer((socket) => {
        sockets.add(socket)
        socket.on('error', () => {})
        say(socket)
      }).listen(path, resolve)
    })
  const message = (fields: number, body: number, type = 2) => {
    const head = Buffer.from([0x6c, type, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    head.writeUInt32LE(body, 4)
    head.writeUInt32LE(fields, 12)
    return head
  }

  test.each([
    ['rejects the login', (s: Socket) => s.end('REJECTED EXTERNAL\r\n')],
    ['hangs up', (s: Socket) => s.end()],
    ['speaks something else', (s: Socket) => s.write(`OK x\r\n${'HTTP/1.1 200 OK\r\n'.repeat(9)}`)],
    [
      'announces a huge message',
      (s: Socket) => s.write(Buffer.concat([Buffer.from('OK x\r\n'), message(8, 0xfffffff0)])),
    ],
    [
      'announces huge fields',
      (s: Socket) => s.write(Buffer.concat([Buffer.from('OK x\r\n'), message(0xffffffff, 0)])),
    ],
    [
      'sends invalid fields',
      (s: Socket) => s.write(Buffer.concat([Buffer.from('OK x\r\n'), message(8, 0), Buffer.alloc(8, 255)])),
    ],
    ['never stops', (s: Socket) => void setInterval(() => s.write(Buffer.alloc(60_000, 'x')), 1).unref()],
  ])('that %s gives no key and throws nothing', async (_, say) => {
    await serve(say)
    expect(await ask({ sessionBus })).toMatchObject({ state: 'unavailable' })
  })

  test('that never answers is given up without a trace', async () => {
    let closed = false
    await serve((socket) => socket.on('close', () => (closed = true)).resume())
    const service = new SecretService({ sessionBus, runtimeDirectory: undefined }, account)
    const controller = new AbortController()
    let answered = false
    void service.read({ now: 0, hold: true, signal: controller.signal }).then(() => (answered = true))
    await new Promise((resolve) => setTimeout(resolve, 50))
    controller.abort()
    await expect.poll(() => closed).toBe(true)
    expect(answered).toBe(false)
  })

  describeWith(missingRoot(), 'with a socket', () => {
    test('of another user is refused, even to root', async () => {
      await serve(() => {})
      chownSync(path, 65534, 65534)
      const refused = { state: 'refused', reason: "the session bus is user 65534's, not this user's" }
      expect(await ask({ sessionBus })).toMatchObject(refused)
      expect(await ask({ runtimeDirectory: folder })).toMatchObject(refused)
    })
  })
})

test('bus addresses are parsed as D-Bus specifies', () => {
  const at = (sessionBus: string) => sessionBusAddress({ sessionBus, runtimeDirectory: undefined })
  const guid = '0123456789abcdef0123456789abcdef'
  expect(at(`unix:abstract=/tmp/dbus-x,guid=${guid}`)).toEqual({ path: '\0/tmp/dbus-x', guid })
  expect(at(`tcp:host=x;unix:guid=${guid},abstract=a%2fb`)).toEqual({ path: '\0a/b', guid })
  expect(() => at('unix:abstract=/tmp/dbus-x')).toThrow(/without a guid/)
})

// Once the bus has ended, any user of the machine can bind its abstract name.
test.skipIf(process.platform !== 'linux').each([
  ['another guid', 'f'.repeat(32), 'the session bus has another guid than its address'],
  ['the right guid', '0'.repeat(32), 'the session bus hangs up'],
])('the bus at an abstract socket is refused when it answers with %s', async (_, answered, reason) => {
  const name = `ticketkeep-test-${process.pid}-${answered[0]}`
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(`OK ${answered}\r\n`))
  })
  await new Promise<void>((done) => server.listen(`\0${name}`, done))
  const answer = await ask({ sessionBus: `unix:abstract=${name},guid=${'0'.repeat(32)}` })
  expect(answer).toMatchObject({ state: 'unavailable', reason: expect.stringContaining(reason) })
  server.close()
})
