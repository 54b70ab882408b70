// An ES module holds `connect` as it was when tls was loaded: what replaces tls.connect later is not seen.
import { connect } from 'node:tls'

const { hostname: host, port, pathname } = new URL(process.argv[2])
const socket = connect({ host, port: Number(port), servername: host }, () => {
  socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
})
socket.setEncoding('utf8')
let reply = ''
socket.on('data', (text) => {
  reply += text
})
socket.on('end', () => console.log(reply.split(' ')[1], reply.split('\r\n\r\n')[1].trim()))
