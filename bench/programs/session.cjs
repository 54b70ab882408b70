// Writes a session of the server to FILE, for a program that is to have one at hand.
const https = require('node:https')
const { readFileSync, writeFileSync } = require('node:fs')
const { URL: url, CERT: cert, FILE: file } = process.env

const pem = cert && readFileSync(cert)
const request = https.get(url, { agent: false, cert: pem, key: pem }, (response) => response.resume())
request.on('socket', (socket) => socket.on('session', (session) => writeFileSync(file, session)))
