import { lstatSync } from 'node:fs'
import type { KeySettings } from '../../settings.ts'
import type { KeyCause, KeyFailure } from '../key-source.ts'

export const failed = (
  reason: string,
  cause: KeyCause,
  state: KeyFailure['state'] = 'unavailable',
): KeyFailure => ({
  state,
  reason,
  cause,
})

export interface BusAddress {
  readonly path: string
  /**
   * What the bus has to call itself. An abstract socket belongs to nobody: once the bus has ended, any user can
   * bind its name, but only who was told the address, or was let in, knows this.
   */
  readonly guid?: string
}

/**
 * The socket of the session bus: `DBUS_SESSION_BUS_ADDRESS`, or else where systemd puts a user's bus, which
 * cron jobs and the like are not told of. Only a socket of this user's: through another's (after a plain
 * `su`, or as root with that user's environment) our key would end up in their keychain.
 */
export function busSocket({
  sessionBus,
  runtimeDirectory,
}: Pick<KeySettings, 'sessionBus' | 'runtimeDirectory'>): BusAddress | KeyFailure {
  const candidates =
    sessionBus === undefined ? defaultSockets(runtimeDirectory) : socketsOf(sessionBus, runtimeDirectory)
  for (const address of candidates) {
    const { path, guid } = address
    if (path.startsWith('\0')) {
      if (guid !== undefined) return address
      return failed(
        'the session bus is an abstract socket without a guid: it may be anybody’s',
        'not-our-bus',
        'refused',
      )
    }
    try {
      const { uid } = lstatSync(path)
      return uid === process.geteuid!()
        ? { path }
        : failed(`the session bus is user ${uid}'s, not this user's`, 'not-our-bus', 'refused')
    } catch {}
  }
  if (sessionBus === undefined) {
    return failed('there is no session bus (DBUS_SESSION_BUS_ADDRESS is not set)', 'no-bus')
  }
  const gone = candidates.length > 0
  return failed(gone ? 'the session bus is gone' : 'DBUS_SESSION_BUS_ADDRESS names no UNIX socket', 'no-bus')
}

function defaultSockets(runtimeDirectory: string | undefined): BusAddress[] {
  return [{ path: `${runtimeDirectory ?? `/run/user/${process.geteuid!()}`}/bus` }]
}

/** D-Bus Specification, "Server Addresses". */
function socketsOf(addresses: string, runtimeDirectory: string | undefined): BusAddress[] {
  return addresses.split(';').flatMap((address) => {
    const [, kind, value] = /^unix:(?:.*,)?(path|abstract|runtime)=([^,]+)/.exec(address) ?? []
    if (kind === undefined || value === undefined) return []
    if (kind === 'runtime') return defaultSockets(runtimeDirectory)
    const path = value.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
    if (kind === 'path') return [{ path }]
    const guid = /[:,]guid=([0-9a-f]{32})(?:,|$)/.exec(address)?.[1]
    return [{ path: `\0${path}`, ...(guid && { guid }) }]
  })
}
