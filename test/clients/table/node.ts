import type { Client } from '../client.ts'

export const NODE: Client[] = [
  {
    name: 'https.get',
    speaks: 'https',
    source: `
      import https from 'node:https'
      https.get(url, (response) => response.pipe(process.stdout))`,
  },
  {
    name: 'https.get twelve times at once',
    speaks: 'https',
    source: `
      import https from 'node:https'
      const get = () => new Promise((done, fail) => https.get(url, { agent: false }, (response) => response.on('data', () => {}).on('end', done)).on('error', fail))
      await Promise.all(Array.from({ length: 12 }, get))
      console.log('twelve')`,
  },
  {
    name: 'tls.connect',
    speaks: 'https',
    source: `
      import { connect } from 'node:tls'
      const socket = connect({ host, port, servername: host }, () => socket.write('GET /hello.txt HTTP/1.0\\r\\n\\r\\n'))
      let text = ''
      socket.on('data', (part) => (text += part)).on('end', () => console.log(text.split('\\r\\n\\r\\n')[1]))`,
  },
  { name: 'fetch', speaks: 'https', source: `console.log(await (await fetch(url)).text())` },
  {
    name: 'http2.connect',
    speaks: 'h2',
    source: `
      import { connect } from 'node:http2'
      const session = connect(url)
      session.request({ ':path': '/' }).on('close', () => session.close()).pipe(process.stdout)`,
  },
  {
    name: 'https.get and NODE_USE_ENV_PROXY',
    speaks: 'https',
    routes: ['connect', 'secure'],
    nodes: ['24', '26'],
    env: { NODE_USE_ENV_PROXY: '1' },
    source: `
      import https from 'node:https'
      https.get(url, (response) => response.pipe(process.stdout))`,
  },
  {
    name: 'fetch and NODE_USE_ENV_PROXY',
    speaks: 'https',
    routes: ['connect', 'secure'],
    nodes: ['24', '26'],
    env: { NODE_USE_ENV_PROXY: '1' },
    source: `console.log(await (await fetch(url)).text())`,
  },
  {
    name: 'WebSocket',
    speaks: 'websocket',
    nodes: ['22', '24', '26'],
    source: `
      const socket = new WebSocket(url.replace('https', 'wss'))
      socket.onmessage = ({ data }) => { console.log(data); socket.close() }`,
  },
]
