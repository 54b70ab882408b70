// What anybody would write: fetch a page over https and print it.
const https = require('node:https')

https.get(process.argv[2], (response) => {
  response.setEncoding('utf8')
  let body = ''
  response.on('data', (text) => {
    body += text
  })
  response.on('end', () => console.log(response.statusCode, body.trim()))
})
