import type { KeySettings } from '../../settings.ts'
import { answerOf } from '../key-blob.ts'
import {
  type Abandon,
  type Asking,
  answered,
  type KeyAnswer,
  type KeyFailure,
  type Removed,
  type Written,
} from '../key-source.ts'
import { SERVICE } from '../keychain-account.ts'
import { type Bus, openBus } from './dbus-connection.ts'
import { type Reader, Writer } from './dbus-message.ts'
import { busSocket, failed } from './session-bus.ts'

/**
 * The Secret Service (GNOME Keyring, KWallet, KeePassXC) over the session bus, in plain JavaScript: three round
 * trips, nothing blocks, and it can be given up at any moment. It starts no service and shows no prompt.
 *
 * Our item bears the attributes that `@napi-rs/keyring` gives: `service` and `username`, in the default
 * collection, as `application/octet-stream`. It crosses the user's own bus unwrapped (algorithm `plain`): who
 * can read that socket can ask the service itself.
 *
 * Source: the Secret Service API, freedesktop.org, draft 0.2.
 */

const BUS_NAME = 'org.freedesktop.secrets'
const PATH = '/org/freedesktop/secrets'
const INTERFACE = 'org.freedesktop.Secret'
const NONE = '/'
const CONTENT_TYPE = 'application/octet-stream'
const LABEL = 'ticketkeep: key of the sealed TLS tickets'

const WHERE = 'the Secret Service'

/** Where our item is, as far as the service tells without being unlocked. */
interface Found {
  readonly session: string
  readonly item: string | undefined
}

export class SecretService {
  readonly #settings: Pick<KeySettings, 'sessionBus' | 'runtimeDirectory'>
  readonly #attributes: Readonly<Record<string, string>>

  constructor(settings: Pick<KeySettings, 'sessionBus' | 'runtimeDirectory'>, account: string) {
    this.#settings = settings
    this.#attributes = { service: SERVICE, username: account }
  }

  read(asking: Asking, done: (answer: KeyAnswer) => void): Abandon {
    return this.#converse<KeyAnswer>(asking, done, (bus, end) => {
      this.#find(bus, end, ({ session, item }) => {
        if (item === undefined) {
          usableCollection(bus, end, () => {
            end({ state: 'absent', creatable: true, reason: `${WHERE} holds no key yet` })
          })
          return
        }
        bus.call(
          { ...at(item, 'Item'), member: 'GetSecret', signature: 'o', body: new Writer().string(session) },
          (body, error) => {
            if (error !== undefined) return end(failure(error))
            end(answerOf(readSecret(body), asking.now, WHERE))
          },
        )
      })
    })
  }

  write(blob: Uint8Array, asking: Asking, done: (answer: Written) => void): Abandon {
    const written: Written = { state: 'written', reason: WHERE }
    return this.#converse<Written>(asking, done, (bus, end) => {
      this.#find(bus, end, ({ session, item }) => {
        if (item !== undefined) {
          const body = writeSecret(new Writer(), session, blob)
          bus.call({ ...at(item, 'Item'), member: 'SetSecret', signature: '(oayays)', body }, (_, error) =>
            end(error === undefined ? written : failure(error)),
          )
          return
        }
        usableCollection(bus, end, (collection) => {
          const body = new Writer().dictionary(
            {
              [`${INTERFACE}.Item.Label`]: (w: Writer) => w.signature('s').string(LABEL),
              [`${INTERFACE}.Item.Attributes`]: (w: Writer) =>
                writeAttributes(w.signature('a{ss}'), this.#attributes),
            },
            (writer, variant) => variant(writer),
          )
          writeSecret(body, session, blob).boolean(true)
          bus.call(
            { ...at(collection, 'Collection'), member: 'CreateItem', signature: 'a{sv}(oayays)b', body },
            (reply, error) => {
              if (error !== undefined) return end(failure(error))
              end(
                reply.string() !== NONE ? written : failed(`${WHERE} wants to ask the user first`, 'prompt'),
              )
            },
          )
        })
      })
    })
  }

  remove(asking: Asking, done: (answer: Removed) => void): Abandon {
    return this.#converse<Removed>(asking, done, (bus, end) => {
      this.#find(bus, end, ({ item }) => {
        if (item === undefined) return end({ state: 'absent', reason: `${WHERE} holds no key` })
        bus.call({ ...at(item, 'Item'), member: 'Delete' }, (reply, error) => {
          if (error !== undefined) return end(failure(error))
          if (reply.string() !== NONE) return end(failed(`${WHERE} wants to ask the user first`, 'prompt'))
          end({ state: 'removed', reason: WHERE })
        })
      })
    })
  }

  #converse<T>(
    asking: Asking,
    done: (answer: T | KeyFailure) => void,
    talk: (bus: Bus, end: (answer: T | KeyFailure) => void) => void,
  ): Abandon {
    const address = busSocket(this.#settings)
    if (!('path' in address)) {
      done(address)
      return answered
    }
    const bus = openBus(address, asking, (reason, cause) => done(failed(`${WHERE}: ${reason}`, cause)))
    talk(bus, (answer) => {
      bus.close()
      done(answer)
    })
    return bus.close
  }

  /**
   * Opens a session and looks for our item, in one round trip behind a greeting. Ends where that shows that the
   * service is of no use. The greeting is there for GNOME Keyring, which ends with an assertion if OpenSession
   * is the first that it hears of a client while it is busy with others (its issues 190, 196 and 199).
   */
  #find(bus: Bus, end: (answer: KeyFailure) => void, found: (found: Found) => void): void {
    bus.call(
      {
        destination: 'org.freedesktop.DBus',
        path: '/org/freedesktop/DBus',
        interface: 'org.freedesktop.DBus',
        member: 'GetConnectionUnixUser',
        signature: 's',
        body: new Writer().string(BUS_NAME),
      },
      (body, error) => {
        if (error !== undefined) return end(failure(error))
        const uid = body.uint32()
        if (uid !== process.geteuid!()) {
          end(failed(`${WHERE} on this bus is user ${uid}'s, not this user's`, 'not-our-bus', 'refused'))
        }
      },
    )
    bus.call(
      { destination: BUS_NAME, path: PATH, interface: 'org.freedesktop.DBus.Peer', member: 'Ping' },
      () => this.#search(bus, end, found),
    )
  }

  #search(bus: Bus, end: (answer: KeyFailure) => void, found: (found: Found) => void): void {
    let session: string | undefined
    bus.call(
      {
        ...at(PATH, 'Service'),
        member: 'OpenSession',
        signature: 'sv',
        body: new Writer().string('plain').signature('s').string(''),
      },
      (body, error) => {
        if (error !== undefined) return end(failure(error))
        body.signature()
        body.string()
        session = body.string()
      },
    )
    bus.call(
      {
        ...at(PATH, 'Service'),
        member: 'SearchItems',
        signature: 'a{ss}',
        body: writeAttributes(new Writer(), this.#attributes),
      },
      (body, error) => {
        if (error !== undefined) return end(failure(error))
        const items = body.strings()
        const locked = body.strings()
        if (items.length + locked.length > 1) {
          return end(
            failed(`${WHERE} holds ${items.length + locked.length} keys of ours`, 'several', 'refused'),
          )
        }
        if (locked.length > 0) return end(failed(`${WHERE} is locked`, 'locked'))
        if (session === undefined) return end(failed(`${WHERE} opens no session`, 'no-service'))
        found({ session, item: items[0] })
      },
    )
  }
}

/** The default collection, if there is one and it is not locked: only then can an item be made silently. */
function usableCollection(
  bus: Bus,
  end: (answer: KeyFailure) => void,
  use: (collection: string) => void,
): void {
  bus.call(
    { ...at(PATH, 'Service'), member: 'ReadAlias', signature: 's', body: new Writer().string('default') },
    (body, error) => {
      if (error !== undefined) return end(failure(error))
      const collection = body.string()
      if (collection === NONE) return end(failed(`${WHERE} has no default collection`, 'no-collection'))
      bus.call(
        {
          destination: BUS_NAME,
          path: collection,
          interface: 'org.freedesktop.DBus.Properties',
          member: 'Get',
          signature: 'ss',
          body: new Writer().string(`${INTERFACE}.Collection`).string('Locked'),
        },
        (property, missing) => {
          if (missing !== undefined) return end(failure(missing))
          property.signature()
          if (property.uint32() !== 0) end(failed(`${WHERE} is locked`, 'locked'))
          else use(collection)
        },
      )
    },
  )
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

function readSecret(body: Reader): Uint8Array {
  body.align(8).string()
  body.byteArray()
  return body.byteArray()
}

function failure(error: string): KeyFailure {
  if (/\.(ServiceUnknown|NameHasNoOwner)$/.test(error))
    return failed('no Secret Service runs on the session bus', 'no-service')
  if (/\.IsLocked$/.test(error)) return failed(`${WHERE} is locked`, 'locked')
  return failed(`${WHERE} answers with ${error.replace(/[^\w.]/g, '').slice(0, 100)}`, 'no-service')
}
