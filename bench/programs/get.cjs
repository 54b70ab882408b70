// One request, as an ordinary program makes it; with a file of session bytes as `ideal` it passes those itself.
// Prints how it went: r or ., and the milliseconds from the start of the process to the first byte.
const https = require('node:https')
const { readFileSync, writeSync } = require('node:fs')
const { URL: url, CA: ca, CERT: cert, SESSION: session } = process.env

const options = {}
if (ca) options.ca = readFileSync(ca)
if (cert) {
  options.cert = readFileSync(cert)
  options.key = options.cert
}
if (session) options.session = readFileSync(session)

https.get(url, options, (response) => {
  const first = performance.now()
  const reused = response.socket.isSessionReused() ? 'r' : '.'
  response.resume()
  response.on('end', () => writeSync(1, `${reused} ${first}`))
})
