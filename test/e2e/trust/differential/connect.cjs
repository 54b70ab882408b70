// For the programs of this folder: one connection, what any program can see of it, and what ticketkeep said of it.
const { subscribe } = require('node:diagnostics_channel')

const events = []
for (const name of ['offer', 'resumed', 'harvest', 'skip']) {
  subscribe(`ticketkeep:${name}`, ({ reason }) => events.push(reason ? `${name}: ${reason}` : name))
}
exports.events = events

/** A connection that neither fails nor ends is given up after this time, in milliseconds. */
const PATIENCE = 15_000

/** Names that no resolver knows are this machine. */
exports.lookup = lookup
function lookup(_name, { all }, done) {
  setImmediate(() => (all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)))
}

/**
 * Connects by `tls.connect`, asks for a page and reads it. With `over: true` the TCP connection is made first, as
 * clients do that are asked to turn to TLS later. A socket of which `judge` says false in `secureConnect` is destroyed.
 */
exports.attempt = async function attempt(options, judge) {
  const { over, ...given } = options
  if (over) {
    const { host = '127.0.0.1', port, ...others } = given
    const socket = require('node:net').connect({ host, port, lookup })
    await new Promise((done, fail) => socket.on('connect', done).on('error', fail))
    return watch(() => require('node:tls').connect({ ...others, socket }), judge)
  }
  return exports.attemptWith(given, judge)
}

/** The same with these very options, which may be of any kind. */
exports.attemptWith = (options, judge) => watch(() => require('node:tls').connect(options), judge)

/** The same for any call that gives a client socket. */
exports.watch = watch

function watch(connect, judge = () => true) {
  const first = events.length
  const seen = { error: undefined, authorized: undefined, judged: undefined, text: '' }
  let reused = false
  return new Promise((done) => {
    const end = () => setTimeout(() => done({ seen, reused, events: events.slice(first) }), 2)
    let socket
    try {
      socket = connect()
    } catch (error) {
      seen.error = nameOf(error)
      end()
      return
    }
    const timer = setTimeout(() => {
      seen.error = 'given up'
      socket.destroy()
    }, PATIENCE)
    socket.on('secureConnect', () => {
      seen.authorized = socket.authorized
      reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(socket)
      try {
        seen.judged = judge(socket) !== false
      } catch (error) {
        seen.judged = nameOf(error)
      }
      if (seen.judged === true) socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
      else socket.destroy()
    })
    socket.setEncoding('utf8').on('data', (text) => (seen.text += text))
    socket.on('error', (error) => (seen.error ??= nameOf(error)))
    socket.on('close', () => {
      clearTimeout(timer)
      seen.text = seen.text.split('\r\n\r\n')[1] ?? ''
      end()
    })
  })
}

/** One request by `https.get`; the options of its agent are given with it, or are those of `https.globalAgent`. */
exports.request = function request(options) {
  const first = events.length
  const seen = { error: undefined, authorized: undefined, judged: true, text: '' }
  let reused = false
  return new Promise((done) => {
    const end = () => setTimeout(() => done({ seen, reused, events: events.slice(first) }), 2)
    const https = require('node:https')
    const headers = { connection: 'close', ...options.headers }
    const asked = https.get({ ...options, headers }, (response) => {
      response.setEncoding('utf8').on('data', (text) => (seen.text += text))
      response.on('end', end)
    })
    asked.on('socket', (socket) =>
      socket.on('secureConnect', () => {
        seen.authorized = socket.authorized
        reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(socket)
      }),
    )
    asked.on('error', (error) => {
      seen.error = nameOf(error)
      end()
    })
  })
}

/** One request by `fetch`. */
exports.fetched = async function fetched(url) {
  const first = events.length
  const seen = { error: undefined, authorized: undefined, judged: true, text: '' }
  try {
    const response = await fetch(url, { headers: { connection: 'close' } })
    seen.text = await response.text()
    seen.authorized = true
  } catch (error) {
    seen.error = nameOf(error.cause ?? error)
  }
  const said = events.slice(first)
  return { seen, reused: said.includes('resumed'), events: said }
}

const nameOf = (error) => error.code ?? error.message

/** The certificates that a socket shows, from the leaf on. */
exports.chainOf = function chainOf(socket) {
  const chain = []
  for (let one = socket.getPeerCertificate(true); one && !chain.includes(one); one = one.issuerCertificate) {
    chain.push(one)
  }
  return chain
}

/** The program's result as one line of JSON; a package that keeps the process busy does not keep it for ever. */
exports.report = function report(result) {
  process.stdout.write(`${JSON.stringify(result)}\n`)
  setTimeout(() => process.exit(), 200).unref()
}
