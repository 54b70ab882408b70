// One request by undici. UNDICI: its path. LIBRARY: the path of ticketkeep, if its connector is to be used. Prints r or
// .
const { readFileSync, writeSync } = require('node:fs')
const { TLSSocket } = require('node:tls')
const { URL: url, CA, UNDICI, LIBRARY } = process.env
const { Agent, buildConnector, request } = require(UNDICI)

const ca = readFileSync(CA)
const connector = LIBRARY ? require(LIBRARY).ticketConnector({ ca }) : buildConnector({ ca })
let reused = '.'
const connect = (target, done) =>
  connector(target, (error, socket) => {
    if (socket && TLSSocket.prototype.isSessionReused.call(socket)) reused = 'r'
    done(error, socket)
  })

const dispatcher = new Agent({ connect })
request(url, { dispatcher }).then(async ({ body }) => {
  await body.dump()
  writeSync(1, reused)
  dispatcher.destroy()
})
