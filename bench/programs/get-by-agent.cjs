// The request of get.cjs, by a program that resumes by itself. LIBRARY: the path of ticketkeep. Prints r or .
const https = require('node:https')
const { writeSync } = require('node:fs')
const { URL: url, LIBRARY: library } = process.env
const { TicketAgent } = require(library)

https.get(url, { agent: new TicketAgent() }, (response) => {
  const reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket) ? 'r' : '.'
  response.resume()
  response.on('end', () => writeSync(1, reused))
})
