// A server on Node 24 with a chain of ML-DSA-65 certificates (FIPS 204), which no other tool here can make. Arguments:
// the address to listen on, the file for the root's certificate. Prints the port when it is ready.
const { generateKeyPairSync, randomBytes, sign } = require('node:crypto')
const { writeFileSync } = require('node:fs')
const { createServer } = require('node:https')
const [address, rootFile] = process.argv.slice(2)

// Encodes DER (X.690), as far as certificates need it.
function tlv(tag, ...parts) {
  const body = Buffer.concat(parts)
  const { length } = body
  const size = length < 128 ? [length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), body])
}
const sequence = (...parts) => tlv(0x30, ...parts)
const oid = (...bytes) => tlv(0x06, Buffer.from(bytes))
const ML_DSA_65 = sequence(oid(0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x12))
const nameOf = (name) => sequence(tlv(0x31, sequence(oid(0x55, 0x04, 0x03), tlv(0x0c, Buffer.from(name)))))
const timeOf = (days) => {
  const text = new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\.\d+/g, '')
  return tlv(0x17, Buffer.from(text.slice(2)))
}
const extension = (id, value) =>
  sequence(oid(0x55, 0x1d, id), tlv(0x01, Buffer.from([0xff])), tlv(0x04, value))

/** CA certificates contain no address. */
function certify(subject, issuer, ip) {
  const { publicKey, privateKey } = generateKeyPairSync('ml-dsa-65')
  const extensions = ip
    ? extension(0x11, sequence(tlv(0x87, Buffer.from(ip.split('.').map(Number)))))
    : extension(0x13, sequence(tlv(0x01, Buffer.from([0xff]))))
  const body = sequence(
    tlv(0xa0, tlv(0x02, Buffer.from([2]))),
    tlv(0x02, Buffer.from([1]), randomBytes(8)),
    ML_DSA_65,
    nameOf(issuer?.subject ?? subject),
    sequence(timeOf(-1), timeOf(30)),
    nameOf(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(extensions)),
  )
  const signature = sign(null, body, issuer?.privateKey ?? privateKey)
  const der = sequence(body, ML_DSA_65, tlv(0x03, Buffer.from([0]), signature))
  const base64 = der.toString('base64').replace(/.{64}/g, '$&\n')
  return { subject, privateKey, pem: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n` }
}

const root = certify('ML-DSA root')
const upper = certify('ML-DSA upper', root)
const lower = certify('ML-DSA lower', upper)
const leaf = certify(address, lower, address)
writeFileSync(rootFile, root.pem)
const options = {
  cert: leaf.pem + lower.pem + upper.pem,
  key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }),
}
const server = createServer(options, (_request, response) => response.end('hello\n'))
server.listen(0, address, () => console.log(server.address().port))
