// Two requests, one after the other, on a connection each; CACHE=1: with Node's own cache of sessions between.
// Prints r or . of the second, and how many milliseconds it took.
const https = require('node:https')
const { writeSync } = require('node:fs')
const { URL: url, CACHE: cache } = process.env

const agent = cache ? new https.Agent({ keepAlive: false }) : false
function request(done) {
  const start = performance.now()
  https.get(url, { agent }, (response) => {
    const took = performance.now() - start
    const reused = response.socket.isSessionReused() ? 'r' : '.'
    response.resume()
    response.on('close', () => done(reused, took))
  })
}
request(() => request((reused, took) => writeSync(1, `${reused} ${took}`)))
