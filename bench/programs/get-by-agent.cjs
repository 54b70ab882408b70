// The request of get.cjs, made with TicketAgent. LIBRARY: the path of ticketkeep. CA: as in get.cjs. Prints r or .
const https = require('node:https')
const { readFileSync, writeSync } = require('node:fs')
const { URL: url, LIBRARY: library, CA: ca } = process.env
const { TicketAgent } = require(library)

const agent = new TicketAgent(ca ? { ca: readFileSync(ca) } : {})
https.get(url, { agent }, (response) => {
  const reused = require('node:tls').TLSSocket.prototype.isSessionReused.call(response.socket) ? 'r' : '.'
  response.resume()
  response.on('end', () => writeSync(1, reused))
})
