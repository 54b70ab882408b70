import { ALL_ROUTES, type Client, library } from '../client.ts'

export const OTHER_LIBRARIES: Client[] = [
  library('ws', {
    speaks: 'websocket',
    routes: ALL_ROUTES,
    source: `
      import WebSocket from 'ws'
      import { HttpsProxyAgent } from 'https-proxy-agent'
      const socket = new WebSocket(url.replace('https', 'wss'), { agent: proxy && new HttpsProxyAgent(proxy) })
      socket.on('message', (data) => { console.log(String(data)); socket.close() })`,
  }),
  library('@grpc/grpc-js', {
    speaks: 'grpc',
    routes: ['direct', 'connect'],
    source: `
      import { Client, credentials } from '@grpc/grpc-js'
      const client = new Client(host + ':' + port, credentials.createSsl())
      const same = (bytes) => bytes
      client.makeUnaryRequest('/test/echo', same, same, Buffer.from('hello'), (error, answer) => {
        console.log(error?.message ?? String(answer))
        client.close()
      })`,
  }),
  library('pg', {
    speaks: 'postgres',
    source: `
      import pg from 'pg'
      const client = new pg.Client({ host, port, user: 'test', database: 'postgres', ssl: true })
      await client.connect()
      console.log((await client.query('SELECT 1 AS one')).rows)
      await client.end()`,
  }),
  ...[
    ['mysql2', '{}'],
    ['mysql2 with verifyIdentity', '{ verifyIdentity: true }'],
  ].map(([name, ssl]) =>
    library(
      'mysql2',
      {
        speaks: 'mysql',
        source: `
          import mysql from 'mysql2/promise'
          const connection = await mysql.createConnection({ host, port, user: 'test', ssl: ${ssl} })
          console.log((await connection.query('SELECT 1 AS one'))[0])
          await connection.end()`,
      },
      name,
    ),
  ),
  ...[
    ['mariadb', 'true'],
    ['mariadb with servername', '{ servername: host }'],
  ].map(([name, ssl]) =>
    library(
      'mariadb',
      {
        speaks: 'mysql',
        source: `
          import { createConnection } from 'mariadb'
          const connection = await createConnection({ host, port, user: 'test', ssl: ${ssl} })
          console.log(await connection.query('SELECT 1 AS one'))
          await connection.end()`,
      },
      name,
    ),
  ),
  library('mongodb', {
    speaks: 'mongodb',
    source: `
      import { MongoClient } from 'mongodb'
      const client = new MongoClient('mongodb://' + host + ':' + port + '/?tls=true&directConnection=true&serverMonitoringMode=poll')
      console.log((await client.db('test').command({ ping: 1 })).ok)
      await client.close()`,
  }),
  library('ioredis', {
    speaks: 'redis',
    source: `
      import { Redis } from 'ioredis'
      const redis = new Redis({ host, port, tls: {} })
      console.log(await redis.ping())
      await redis.quit()`,
  }),
  library('mqtt', {
    speaks: 'mqtt',
    source: `
      import mqtt from 'mqtt'
      const client = await mqtt.connectAsync('mqtts://' + host + ':' + port)
      console.log(client.connected)
      await client.endAsync()`,
  }),
  library(
    'nodemailer',
    {
      speaks: 'smtp',
      source: `
        import { createTransport } from 'nodemailer'
        const transport = createTransport({ host, port, requireTLS: true })
        const { accepted } = await transport.sendMail({ from: 'a@example.org', to: 'b@example.org', text: 'hello' })
        console.log(accepted)`,
    },
    'nodemailer (STARTTLS)',
  ),
  library('ldapts', {
    speaks: 'ldap',
    source: `
      import { Client } from 'ldapts'
      const client = new Client({ url: 'ldaps://' + host + ':' + port })
      const { searchEntries } = await client.search('', { scope: 'base', attributes: ['namingContexts'] })
      console.log(searchEntries.length)
      await client.unbind()`,
  }),
]
