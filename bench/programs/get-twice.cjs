// Two requests, one after the other, each over a new connection, like npm and many clients. Prints r or . for each, and
// the duration of the second in milliseconds.
const https = require('node:https')
const { writeSync } = require('node:fs')
const { TLSSocket } = require('node:tls')
const { URL: url } = process.env

const get = (done) =>
  https.get(url, { agent: false }, (response) => {
    const reused = TLSSocket.prototype.isSessionReused.call(response.socket) ? 'r' : '.'
    response.resume()
    response.on('end', () => done(reused))
  })
get((first) => {
  const start = performance.now()
  get((second) => writeSync(1, `${first}${second} ${performance.now() - start}`))
})
