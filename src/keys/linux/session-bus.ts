import { lstatSync } from 'node:fs'
import type { KeySettings } from '../../settings.ts'
import { SourceFailure } from '../key-source.ts'

export type BusSettings = Pick<KeySettings, 'sessionBus' | 'runtimeDirectory'>

export interface BusAddress {
  readonly path: string
  /**
   * What the bus has to call itself. An abstract socket belongs to nobody: once the bus has ended, any user can
   * bind its name. Only those who know the address, or were let in, know this.
   */
  readonly guid?: string
}

/**
 * The socket of the session bus: that of `DBUS_SESSION_BUS_ADDRESS`, or else where systemd puts a user's bus,
 * which cron jobs are not told of. Only a socket of this user's: through another user's (after a plain `su`, or
 * as root with that user's environment) our key would end up in their keychain.
 *
 * @throws {SourceFailure} where there is none, or it is not this user's
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
