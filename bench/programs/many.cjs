// COUNT requests, each on a new connection, AT_ONCE of them at a time. HOSTS=1: each to another host, by a name that
// only the program itself resolves. Prints how many of them resumed.
const https = require('node:https')
const { writeSync } = require('node:fs')
const { URL: url, COUNT: count, AT_ONCE: atOnce, HOSTS: hosts } = process.env

let next = 0
let left = Number(count)
let reused = 0

function one() {
  const i = next++
  if (i >= Number(count)) return
  const options = hosts
    ? { agent: false, hostname: `host-${i}.bench.example`, lookup: lookup(i) }
    : { agent: false }
  https.get(url, options, (response) => {
    if (require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket)) reused++
    response.resume()
    response.on('close', () => {
      one()
      if (--left === 0) writeSync(1, `${reused}`)
    })
  })
}

// Uses many addresses, because one has too few ports.
const lookup = (i) => (_name, options, done) => {
  const address = `127.0.1.${1 + (i % 200)}`
  setImmediate(done, null, ...(options.all ? [[{ address, family: 4 }]] : [address, 4]))
}

for (let i = 0; i < Number(atOnce); i++) one()
