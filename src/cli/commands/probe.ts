import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { type HostPort, peerOf } from '../../host-port.ts'
import { type Command, Failure, UsageError } from '../command.ts'
import { spellServer } from '../failing-servers.ts'
import { type Answers, compareAnswers } from '../probe-answers.ts'
import { type ClientCertificate, type Measured, measureOrigin } from '../probe-origin.ts'
import { type Block, count, duration, milliseconds, showProgress, thousands } from '../render.ts'

const DEFAULT_ROUNDS = 5
const MAX_ROUNDS = 100

/**
 * `--json`: `{ "host": "example.com", "port": 443, "address": "192.0.2.1", "protocol": "TLSv1.3", "rounds": 5,
 * "resumedRounds": 5, "ticketsPerConnection": 2, "lifetimeHintSecs": 7200, "keepable": true,
 * "roundTripMs": 23.1, "full": COST, "resumed": COST or null, "roundTripsSaved": 0,
 * "answers": { "full": 200, "resumed": 403 } }`, where COST is
 * `{ "handshakeMs": 24.2, "cpuMs": 1.1, "bytesReceived": 4812 }`: medians. `lifetimeHintSecs` is null where
 * the server gave none; `roundTripsSaved` is null if nothing was resumed. `answers` is null without a client
 * certificate; `answers.resumed` is null if nothing was resumed, or the error code if the resumed connection failed.
 */
export const command: Command = {
  usage: 'probe URL [--count N] [--cert FILE --key FILE] [--json]',
  help: `
Connects to an HTTPS origin several times, half of the connections with a ticket of the one before, and
says whether the server resumes and how much that saves from here. Stores nothing, sends no request, and
uses no proxy.

With a client certificate it also sends a GET over a full and over a resumed connection, and says whether
the server gives the same answer. Some servers reject the request on the resumed connection.

URL is https://HOST[:PORT], or HOST[:PORT]. A path after it is used for the GET.`,
  options: {
    count: {
      type: 'string',
      value: 'N',
      about: `how many connections of either kind, 1 to ${MAX_ROUNDS}; default ${DEFAULT_ROUNDS}`,
    },
    cert: { type: 'string', value: 'FILE', about: 'the client certificate, in PEM' },
    key: { type: 'string', value: 'FILE', about: 'its key, in PEM, without a passphrase' },
  },
  operands: [1, 1],
  async run({ operands: [url = ''], options }) {
    const rounds = readCount(options.count)
    const { origin, path } = readUrl(url)
    const certificate = readCertificate(options.cert, options.key)
    const failed = (error: NodeJS.ErrnoException) => {
      throw new Failure(`cannot probe ${spellServer(origin)}: ${explain(error, certificate !== undefined)}`)
    }
    const onRound = (round: number) =>
      showProgress(`Measuring ${spellServer(origin)}: round ${round} of ${rounds}`)
    const measured = await measureOrigin(origin, rounds, certificate, onRound)
      .catch(failed)
      .finally(() => showProgress(''))
    const answers = certificate ? await compareAnswers(origin, path, certificate, rounds).catch(failed) : null
    return { json: { ...origin, ...measured, answers }, text: describe(origin, measured, answers) }
  },
}

function readCertificate(cert: unknown, key: unknown): ClientCertificate | undefined {
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) throw new UsageError('--cert and --key belong together')
  const certificate = { cert: readFile(String(cert)), key: readFile(String(key)) }
  try {
    createSecureContext(certificate)
  } catch {
    throw new Failure(`${cert} and ${key} are not a certificate and its key, in PEM and without a passphrase`)
  }
  return certificate
}

function readFile(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Failure(`cannot read ${path}: ${(error as Error).message}`)
  }
}

function readCount(value: unknown): number {
  const count = value === undefined ? DEFAULT_ROUNDS : /^\d{1,3}$/.test(String(value)) ? Number(value) : 0
  if (count >= 1 && count <= MAX_ROUNDS) return count
  throw new UsageError(`--count ${value} is not a number from 1 to ${MAX_ROUNDS}`)
}

function readUrl(text: string): { origin: HostPort; path: string } {
  const wrong = (why: string) => new UsageError(`"${text}" ${why}; give https://HOST[:PORT] or HOST[:PORT]`)
  const withScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`
  if (!URL.canParse(withScheme)) throw wrong('is not a URL')
  const { protocol, hostname, port, pathname, search } = new URL(withScheme)
  if (port === '0') throw wrong('names port 0')
  if (protocol !== 'https:' && protocol !== 'wss:') throw wrong('is not an address that is reached over TLS')
  try {
    return { origin: peerOf(hostname, Number(port || 443)), path: `${pathname}${search}` }
  } catch {
    throw wrong('names no host')
  }
}

function explain(error: NodeJS.ErrnoException & { reason?: string }, hasCertificate: boolean): string {
  const { code = '', message } = error
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return 'its certificate is for other names, so its sessions are not kept'
  if (/CERT|SIGNATURE|ISSUER|CHAIN/.test(code)) {
    return `its certificate is not trusted here (${message}), so its sessions are not kept; if it is your own CA, name it in NODE_EXTRA_CA_CERTS`
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return 'the name does not resolve; check it, and the network'
  if (code === 'ECONNREFUSED') return 'nothing listens there; check the port'
  if (code === 'ETIMEDOUT') return `${message}; if this machine needs a proxy, the origin cannot be probed`
  // OpenSSL's own reason, without the source location that the message also contains.
  const { reason = /:error:[^:]*:[^:]*:[^:]*:([^:]*):/.exec(message)?.[1] } = error
  if (reason === 'wrong version number' || reason === 'packet length too long') {
    return 'the server there does not speak TLS; check the port'
  }
  if (reason?.includes('certificate required') && !hasCertificate)
    return 'it wants a client certificate; give one with --cert and --key'
  return reason === undefined ? message : `the handshake failed (${reason})`
}

/** The report for people. */
export function describe(origin: HostPort, measured: Measured, answers: Answers | null): Block[] {
  const { full, resumed, roundTripsSaved } = measured
  const trips = measured.protocol === 'TLSv1.3' ? 1 : 2
  const row = (name: string, unit: (n: number) => string, of: (cost: Measured['full']) => number) => [
    `  ${name}`,
    unit(of(full)),
    resumed ? unit(of(resumed)) : '-',
    resumed ? unit(of(full) - of(resumed)) : '-',
  ]
  return [
    {
      pairs: [
        ['origin', `${spellServer(origin)} (${measured.address})`],
        ['protocol', measured.protocol],
        ['resumed', `${measured.resumedRounds} of ${count(measured.rounds, 'attempt')}`],
        ['tickets', tickets(measured)],
        ['round trip', milliseconds(measured.roundTripMs)],
      ],
    },
    '',
    {
      table: [
        ['median of each', 'full', 'resumed', 'saved'],
        row('handshake', milliseconds, (cost) => cost.handshakeMs),
        [
          '  round trips',
          `${trips}`,
          resumed ? `${trips - (roundTripsSaved ?? 0)}` : '-',
          `${roundTripsSaved ?? '-'}`,
        ],
        row('CPU here', milliseconds, (cost) => cost.cpuMs),
        row('bytes received', thousands, (cost) => cost.bytesReceived),
      ],
    },
    ...(resumed ? ['', bars(full.handshakeMs, resumed.handshakeMs)] : []),
    '',
    verdict(measured),
    ...(answers ? ['', compare(answers)] : []),
  ]
}

const bars = (full: number, resumed: number): Block => ({
  bars: [
    ['full', full, milliseconds(full)],
    ['resumed', resumed, milliseconds(resumed)],
  ],
})

function compare({ full, resumed }: Answers): string {
  if (resumed === null)
    return 'Nothing was resumed with the client certificate, so the answers cannot be compared.'
  if (resumed === full)
    return `With the client certificate the server answers ${full}, on a full connection and on a resumed one.`
  const other =
    typeof resumed === 'number' ? `${resumed} on a resumed one` : `breaks a resumed one (${resumed})`
  return `With the client certificate the server answers ${full} on a full connection and ${other}:
do not set TICKETKEEP_CLIENT_CERT for programs that use it.`
}

function tickets({ ticketsPerConnection: n, lifetimeHintSecs }: Measured): string {
  if (n === 0) return 'none given'
  const life = lifetimeHintSecs
    ? `the server says they last ${duration(lifetimeHintSecs)}`
    : 'no lifetime given'
  return `${n} a connection, ${life}`
}

function verdict(measured: Measured): string {
  const { full, resumed, keepable, protocol, ticketsPerConnection, resumedRounds, rounds } = measured
  if (ticketsPerConnection === 0) return 'This server gives no session tickets, so there is nothing to keep.'
  if (!resumed) {
    return `This server gives tickets and accepted none. Behind one name there may be several servers that do
not share their ticket keys; ticketkeep costs nothing there and saves nothing.`
  }
  const partly =
    resumedRounds < rounds
      ? `\nIt accepted only ${resumedRounds} of ${rounds}: servers behind it may not share their keys.`
      : ''
  if (!keepable) {
    return 'It resumes, but ticketkeep would keep no session of it: TLS 1.2 without extended master secret (RFC 7627).'
  }
  const ms = full.handshakeMs - resumed.handshakeMs
  const saved = ms > 0 ? `: here ${milliseconds(ms)} of ${milliseconds(full.handshakeMs)}` : ''
  if (protocol === 'TLSv1.2') return `A resumed connection saves one of two round trips${saved}.${partly}`
  const cpu = full.cpuMs - resumed.cpuMs
  return `TLS 1.3 needs one round trip, full or resumed: resumption saves none. It saves the certificate:
${thousands(full.bytesReceived - resumed.bytesReceived)} bytes${cpu > 0 ? `, ${milliseconds(cpu)} of CPU here` : ''}, and the server's signature.${partly}`
}
