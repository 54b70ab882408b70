const http2 = require('node:http2')

const { origin, pathname } = new URL(process.argv[2])
const session = http2.connect(origin)
const request = session.request({ ':path': pathname })
request.setEncoding('utf8')
let status
let body = ''
request.on('response', (headers) => {
  status = headers[':status']
})
request.on('data', (text) => {
  body += text
})
request.on('end', () => {
  console.log(status, body.trim())
  session.close()
})
