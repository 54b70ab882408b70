import { lstatSync } from 'node:fs'
import type { KeySettings } from '../../settings.ts'
import { SourceFailure } from '../key-source.ts'

export type BusSettings = Pick<KeySettings, 'sessionBus' | 'runtimeDirectory'>

export interface BusAddress {
  readonly path: string
  /**
   * The ID that the bus must report. An abstract socket has no owner: once the bus has ended, any user can bind its
   * name. Only processes that know the address, or were connected, know the ID.
   */
  readonly guid?: string
}

/**
 * The socket of the session bus: from `DBUS_SESSION_BUS_ADDRESS`, or the path where systemd puts a user's bus, since
 * cron jobs lack the variable. Only a socket owned by this user is accepted. Through another user's socket (after a
 * plain `su`, or as root with that user's environment) our key would end up in that user's keychain.
 *
 * @throws {SourceFailure} if there is none, or it is not this user's
 */
export function sessionBusAddress({ sessionBus, runtimeDirectory }: BusSettings): BusAddress {
  const candidates =
    sessionBus === undefined ? defaultSockets(runtimeDirectory) : socketsOf(sessionBus, runtimeDirectory)
  for (const address of candidates) {
    if (address.path.startsWith('\0')) {
      if (address.guid !== undefined) return address
      const reason = 'the session bus is an abstract socket without a guid: it may be anybody’s'
      throw new SourceFailure(reason, 'not-our-bus', 'refused')
    }
    const owner = ownerOf(address.path)
    if (owner === process.geteuid!()) return address
    if (owner !== undefined)
      throw new SourceFailure(`the session bus is user ${owner}'s, not this user's`, 'not-our-bus', 'refused')
  }
  throw new SourceFailure(whyNone(sessionBus, candidates.length > 0), 'no-bus')
}

function ownerOf(path: string): number | undefined {
  try {
    return lstatSync(path).uid
  } catch {
    return undefined
  }
}

function whyNone(sessionBus: string | undefined, isNamed: boolean): string {
  if (sessionBus === undefined) return 'there is no session bus (DBUS_SESSION_BUS_ADDRESS is not set)'
  return isNamed ? 'the session bus is gone' : 'DBUS_SESSION_BUS_ADDRESS names no UNIX socket'
}

function defaultSockets(runtimeDirectory: string | undefined): BusAddress[] {
  return [{ path: `${runtimeDirectory ?? `/run/user/${process.geteuid!()}`}/bus` }]
}

/** Source: D-Bus Specification, "Server Addresses". */
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
