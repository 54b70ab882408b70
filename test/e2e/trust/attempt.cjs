// For the programs of these tests: one connection, and what was done to its session.
const { subscribe } = require('node:diagnostics_channel')

const face = process.env.TRUST_THROUGH
/** Loaded as programs load it: before they do anything else. */
const library = face && require('../../../dist/index.cjs')

const events = []
for (const name of ['offer', 'resumed', 'harvest', 'skip']) {
  subscribe(`ticketkeep:${name}`, ({ reason }) => events.push(reason ? `${name}: ${reason}` : name))
}

/**
 * Connects, reads to the end and closes, or `givesUp` when nothing happens for `options.timeout`. `seen` is what any program can see; `events` what ticketkeep said of
 * the connection, nothing without it.
 */
exports.attempt = function attempt(options, onSecure = () => {}, givesUp = false) {
  const tls = require('node:tls')
  const first = events.length
  return new Promise((done) => {
    const seen = { error: undefined, authorized: undefined, text: '' }
    let reused
    let socket
    try {
      socket = exports.open(options, () => {
        seen.authorized = socket.authorized
        reused = tls.TLSSocket.prototype.isSessionReused.call(socket)
        onSecure(socket)
      })
    } catch (error) {
      seen.error = error.code ?? error.message
      done({ seen, reused, events: [] })
      return
    }
    if (givesUp) socket.on('timeout', () => socket.destroy())
    socket.setEncoding('utf8')
    socket.on('data', (text) => (seen.text += text))
    socket.on('error', (error) => (seen.error = error.code ?? error.message))
    socket.on('close', () => setTimeout(() => done({ seen, reused, events: events.slice(first) }), 2))
  })
}

/** By `tls.connect`, or by one of the functions of the library, which takes the same options in its own way. */
exports.open = function open(options, onSecure = () => {}) {
  if (!face) return require('node:tls').connect(options, onSecure)
  const { connect, resumable, TicketAgent, ticketConnector } = library
  const { host, port, servername } = options
  const opened = {
    connect: () => connect(options),
    TicketAgent: () => new TicketAgent().createConnection({ ...options }),
    ticketConnector: () =>
      ticketConnector({ ...options, keepAlive: false })(
        { hostname: host, protocol: 'https:', port, servername, httpSocket: options.socket },
        () => {},
      ),
    resumable: () => resumable(options).createConnection(new URL(`https://${host}:${port}`)),
  }[face]()
  return opened.once('secureConnect', onSecure)
}

/** The program's result, as one line of JSON on standard output. */
exports.report = (result) => console.log(JSON.stringify(result))
exports.events = events
