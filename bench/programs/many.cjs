// COUNT requests at once, each on a connection of its own. Prints how many of them resumed.
const https = require('node:https')
const { writeSync } = require('node:fs')
const { URL: url, COUNT: count } = process.env

let left = Number(count)
let reused = 0
for (let i = left; i > 0; i--) {
  https.get(url, { agent: false }, (response) => {
    if (response.socket.isSessionReused()) reused++
    response.resume()
    response.on('end', () => {
      if (--left === 0) writeSync(1, `${reused}`)
    })
  })
}
