// One request, as an ordinary program makes it; SESSION is a file of session bytes that it has at hand.
// Prints r or ., and the milliseconds from the start of the process to the first byte.
const https = require('node:https')
const { readFileSync, writeSync } = require('node:fs')
const { URL: url, CERT: cert, SESSION: session } = process.env

const options = {}
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
