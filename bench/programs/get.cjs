// One request, as an ordinary program makes it. CA: the path of the CA certificate, which the program passes as an
// option. HOST: a name that only the program itself resolves, to ADDRESS or 127.0.0.1. Prints r or .
const https = require('node:https')
const { readFileSync, writeSync } = require('node:fs')
const { URL: url, CA: ca, HOST: host, ADDRESS: address = '127.0.0.1' } = process.env

const options = {}
if (ca) options.ca = readFileSync(ca)
if (host) {
  options.hostname = host
  options.lookup = (_name, { all }, done) =>
    setImmediate(done, null, ...(all ? [[{ address, family: 4 }]] : [address, 4]))
}

https.get(url, options, (response) => {
  const reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket) ? 'r' : '.'
  response.resume()
  response.on('end', () => writeSync(1, reused))
})
