// A name that takes its time to resolve, as names do on a real network, and longer: 250 ms.
const dns = require('node:dns')
const https = require('node:https')

const lookup = (...args) => setTimeout(() => dns.lookup(...args), 250)

https.get(process.argv[2], { lookup }, async (response) => {
  console.log(
    response.statusCode,
    Buffer.concat(await response.toArray())
      .toString()
      .trim(),
  )
})
