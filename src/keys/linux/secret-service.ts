import { answerOf } from '../key-blob.ts'
import {
  type Asking,
  type KeyAnswer,
  type Keychain,
  type KeyFailure,
  type Removed,
  SourceFailure,
  type Written,
} from '../key-source.ts'
import { SERVICE } from '../keychain-account.ts'
import { DBusConnection, DBusError } from './dbus-connection.ts'
import { type Reader, Writer } from './dbus-message.ts'
import { type BusSettings, sessionBusAddress } from './session-bus.ts'

/**
 * The Secret Service (GNOME Keyring, KWallet) over the session bus, in plain JavaScript. Nothing blocks, and a request
 * can be cancelled at any moment. It starts no service and shows no prompt.
 *
 * Our item is in the default collection, as `application/octet-stream`, with the attributes that `@napi-rs/keyring`
 * uses: `service` and `username`. It crosses the user's own bus unencrypted (algorithm `plain`): whoever can read that
 * socket can also ask the service.
 *
 * Source: the Secret Service API, freedesktop.org, draft 0.2.
 */

const BUS_NAME = 'org.freedesktop.secrets'
const PATH = '/org/freedesktop/secrets'
const INTERFACE = 'org.freedesktop.Secret'
/** The object path that stands for "none". */
const NONE = '/'
const CONTENT_TYPE = 'application/octet-stream'
const LABEL = 'ticketkeep: key of the TLS session tickets'

const WHERE = 'the Secret Service'
const WANTS_TO_ASK = `${WHERE} wants to ask the user first`

export class SecretService implements Keychain {
  readonly name = 'keychain'
  readonly #settings: BusSettings
  readonly #attributes: Readonly<Record<string, string>>

  constructor(settings: BusSettings, account: string) {
    this.#settings = settings
    this.#attributes = { service: SERVICE, username: account }
  }

  read(asking: Asking): Promise<KeyAnswer> {
    return this.#converse<KeyAnswer>(asking, async (bus) => {
      const { item, session } = await this.#find(bus)
      if (item === undefined) return { state: 'absent', creatable: true, reason: `${WHERE} holds no key yet` }
      const body = new Writer().string(session)
      const call = { ...at(item, 'Item'), member: 'GetSecret', signature: 'o', body }
      return answerOf(await bus.call(call, readSecret), asking.now, WHERE)
    })
  }

  write(blob: Uint8Array, asking: Asking): Promise<Written> {
    return this.#converse<Written>(asking, async (bus) => {
      const { item, session, collection } = await this.#find(bus)
      if (item === undefined) await this.#create(bus, collection, session, blob)
      else {
        const body = writeSecret(new Writer(), session, blob)
        await bus.call({ ...at(item, 'Item'), member: 'SetSecret', signature: '(oayays)', body }, () => {})
      }
      return { state: 'written', reason: WHERE }
    })
  }

  remove(asking: Asking): Promise<Removed> {
    return this.#converse<Removed>(asking, async (bus) => {
      const { item } = await this.#find(bus)
      if (item === undefined) return { state: 'absent', reason: `${WHERE} holds no key` }
      const prompt = await bus.call({ ...at(item, 'Item'), member: 'Delete' }, (reply) => reply.string())
      if (prompt !== NONE) await decline(bus, prompt)
      return { state: 'removed', reason: WHERE }
    })
  }

  async #converse<T>(asking: Asking, talk: (bus: DBusConnection) => Promise<T>): Promise<T | KeyFailure> {
    let bus: DBusConnection | undefined
    try {
      asking.signal.throwIfAborted()
      bus = new DBusConnection(sessionBusAddress(this.#settings), asking)
      return await talk(bus)
    } catch (error) {
      return failureOf(error)
    } finally {
      bus?.close()
    }
  }

  /**
   * Opens a session and searches the default collection for our item, after a check that the collection is not locked.
   * Only that collection is searched: if no database is unlocked, KeePassXC answers a `SearchItems` call on the whole
   * service by opening its window "Unlock Database".
   */
  async #find(
    bus: DBusConnection,
  ): Promise<{ item: string | undefined; session: string; collection: string }> {
    await greet(bus)
    const [session, collection] = await Promise.all([openSession(bus), defaultCollection(bus)])
    if (await readLocked(bus, collection)) throw new SourceFailure(`${WHERE} is locked`, 'locked')
    const items = await this.#search(bus, collection)
    if (items.length > 1)
      throw new SourceFailure(`${WHERE} holds ${items.length} keys of ours`, 'several', 'refused')
    return { item: items[0], session, collection }
  }

  #search(bus: DBusConnection, collection: string): Promise<string[]> {
    const body = writeAttributes(new Writer(), this.#attributes)
    const call = { ...at(collection, 'Collection'), member: 'SearchItems', signature: 'a{ss}', body }
    return bus.call(call, (reply) => reply.strings())
  }

  async #create(bus: DBusConnection, collection: string, session: string, blob: Uint8Array): Promise<void> {
    const properties = {
      [`${INTERFACE}.Item.Label`]: (w: Writer) => w.signature('s').string(LABEL),
      [`${INTERFACE}.Item.Attributes`]: (w: Writer) =>
        writeAttributes(w.signature('a{ss}'), this.#attributes),
    }
    const body = new Writer().dictionary(properties, (writer, writeVariant) => writeVariant(writer))
    writeSecret(body, session, blob).boolean(true)
    const { item, prompt } = await bus.call(
      { ...at(collection, 'Collection'), member: 'CreateItem', signature: 'a{sv}(oayays)b', body },
      (reply) => ({ item: reply.string(), prompt: reply.string() }),
    )
    if (item === NONE) await decline(bus, prompt)
  }
}

/**
 * Calls `Hello` on the bus and pings the service, and checks that the service runs as this user. The ping is needed
 * because GNOME Keyring crashes with a failed assertion if OpenSession is a client's first call while it is busy with
 * others (its issues 190, 196 and 199).
 */
async function greet(bus: DBusConnection): Promise<void> {
  const daemon = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' }
  const owner = {
    ...daemon,
    interface: daemon.destination,
    member: 'GetConnectionUnixUser',
    signature: 's',
    body: new Writer().string(BUS_NAME),
  }
  const ping = { destination: BUS_NAME, path: PATH, interface: 'org.freedesktop.DBus.Peer', member: 'Ping' }
  const [, uid] = await Promise.all([
    bus.hello(),
    bus.call(owner, (reply) => reply.uint32()),
    bus.call(ping, () => {}),
  ])
  if (uid !== process.geteuid!()) {
    const reason = `${WHERE} on this bus is user ${uid}'s, not this user's`
    throw new SourceFailure(reason, 'not-our-bus', 'refused')
  }
}

function openSession(bus: DBusConnection): Promise<string> {
  const body = new Writer().string('plain').signature('s').string('')
  return bus.call({ ...at(PATH, 'Service'), member: 'OpenSession', signature: 'sv', body }, readSession)
}

async function defaultCollection(bus: DBusConnection): Promise<string> {
  const body = new Writer().string('default')
  const call = { ...at(PATH, 'Service'), member: 'ReadAlias', signature: 's', body }
  const collection = await bus.call(call, (reply) => reply.string())
  if (collection === NONE) throw new SourceFailure(`${WHERE} has no default collection`, 'no-collection')
  return collection
}

function readLocked(bus: DBusConnection, collection: string): Promise<boolean> {
  const body = new Writer().string(`${INTERFACE}.Collection`).string('Locked')
  const properties = { destination: BUS_NAME, path: collection, interface: 'org.freedesktop.DBus.Properties' }
  return bus.call({ ...properties, member: 'Get', signature: 'ss', body }, readBooleanVariant)
}

/** A prompt is never shown: it is dismissed. */
async function decline(bus: DBusConnection, prompt: string): Promise<never> {
  await bus.call({ ...at(prompt, 'Prompt'), member: 'Dismiss' }, () => {})
  throw new SourceFailure(WANTS_TO_ASK, 'prompt')
}

const at = (path: string, face: string) => ({
  destination: BUS_NAME,
  path,
  interface: `${INTERFACE}.${face}`,
})

const writeAttributes = (writer: Writer, attributes: Readonly<Record<string, string>>) =>
  writer.dictionary(attributes, (w, value) => w.string(value))

/** `(oayays)`: session, parameters (none for `plain`), value, content type. */
const writeSecret = (writer: Writer, session: string, value: Uint8Array) =>
  writer.align(8).string(session).byteArray(new Uint8Array()).byteArray(value).string(CONTENT_TYPE)

function readSecret(reply: Reader): Uint8Array {
  reply.align(8).string()
  reply.byteArray()
  return reply.byteArray()
}

/**
 * `vo`: output of the algorithm, session. `plain` has no output: GNOME Keyring sends an empty string, KWallet an empty
 * byte array.
 */
function readSession(reply: Reader): string {
  const type = reply.signature()
  if (type === 'ay') reply.byteArray()
  else if (type === 's') reply.string()
  else throw new RangeError('an output of unknown type')
  return reply.string()
}

function readBooleanVariant(reply: Reader): boolean {
  reply.signature()
  return reply.uint32() !== 0
}

function failureOf(error: unknown): KeyFailure {
  if (error instanceof SourceFailure) return error.failure
  const { name, message } = error as Error
  if (!(error instanceof DBusError)) return { state: 'unavailable', reason: `${WHERE}: ${message}` }
  if (/\.(ServiceUnknown|NameHasNoOwner)$/.test(name))
    return new SourceFailure('no Secret Service runs on the session bus', 'no-service').failure
  // The item is locked although its collection is not: KeePassXC asks the user which programs may read it.
  if (/\.IsLocked$/.test(name)) return new SourceFailure(WANTS_TO_ASK, 'prompt').failure
  const word = name.replace(/[^\w.]/g, '').slice(0, 100)
  return new SourceFailure(`${WHERE} answers with ${word}`, 'no-service').failure
}
