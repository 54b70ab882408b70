// A tunnel made by hand, as old programs do: nothing but the server's name tells who is at the other end.
const http = require('node:http')
const https = require('node:https')
const tls = require('node:tls')

const url = new URL(process.argv[2])
const proxy = new URL(process.argv[3])
http
  .request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: url.host })
  .on('connect', (_reply, socket) => {
    const createConnection = () => tls.connect({ socket, servername: url.hostname })
    https.get(url, { createConnection }, async (response) => {
      console.log(
        response.statusCode,
        Buffer.concat(await response.toArray())
          .toString()
          .trim(),
      )
    })
  })
  .end()
