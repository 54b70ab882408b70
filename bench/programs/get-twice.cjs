// Two requests, one after the other, each over a connection of its own, as npm and many clients make them. Prints r or . for
// each, and how long the second took: milliseconds.
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
