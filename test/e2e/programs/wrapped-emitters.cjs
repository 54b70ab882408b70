// What instruments every emitter: Node's own node:domain, and a wrapper of the program's around that.
require('node:domain')
const { EventEmitter } = require('node:events')
const https = require('node:https')

const { init } = EventEmitter
EventEmitter.init = function (...args) {
  return init.apply(this, args)
}

https.get(process.argv[2], async (response) => {
  console.log(
    response.statusCode,
    Buffer.concat(await response.toArray())
      .toString()
      .trim(),
  )
})
