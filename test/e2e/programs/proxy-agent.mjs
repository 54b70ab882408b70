// Through a CONNECT proxy: the TLS socket is made over one that is connected already.
import https from 'node:https'
import { HttpsProxyAgent } from 'https-proxy-agent'

const agent = new HttpsProxyAgent(process.argv[3])
https.get(process.argv[2], { agent }, async (response) => {
  console.log(
    response.statusCode,
    Buffer.concat(await response.toArray())
      .toString()
      .trim(),
  )
})
