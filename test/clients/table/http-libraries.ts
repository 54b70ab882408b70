import { ALL_ROUTES, type Client, library } from '../client.ts'

export const HTTP_LIBRARIES: Client[] = [
  library(
    'undici',
    { source: `import { fetch } from 'undici'\nconsole.log(await (await fetch(url)).text())` },
    'undici fetch',
  ),
  library(
    'undici',
    {
      source: `
        import { Pool } from 'undici'
        const pool = new Pool(new URL(url).origin)
        console.log(await (await pool.request({ method: 'GET', path: '/hello.txt' })).body.text())
        await pool.close()`,
    },
    'undici Pool',
  ),
  library(
    'undici',
    {
      speaks: 'h2',
      source: `
        import { Agent, request } from 'undici'
        const dispatcher = new Agent({ allowH2: true })
        console.log(await (await request(url, { dispatcher })).body.text())
        await dispatcher.close()`,
    },
    'undici over HTTP/2',
  ),
  library(
    'undici',
    {
      routes: ['connect', 'secure'],
      source: `
        import { ProxyAgent, request } from 'undici'
        const dispatcher = new ProxyAgent(proxy)
        console.log(await (await request(url, { dispatcher })).body.text())
        await dispatcher.close()`,
    },
    'undici ProxyAgent',
  ),
  library(
    'undici',
    {
      routes: ALL_ROUTES,
      source: `
        import { EnvHttpProxyAgent, request } from 'undici'
        const dispatcher = new EnvHttpProxyAgent()
        console.log(await (await request(url, { dispatcher })).body.text())
        await dispatcher.close()`,
    },
    'undici EnvHttpProxyAgent',
  ),
  library('axios', {
    routes: ALL_ROUTES,
    source: `import axios from 'axios'\nconsole.log((await axios.get(url)).data)`,
  }),
  library('got', {
    routes: ALL_ROUTES,
    source: `
      import got from 'got'
      import { HttpsProxyAgent } from 'https-proxy-agent'
      const agent = proxy && { https: new HttpsProxyAgent(proxy) }
      console.log((await got(url, { agent, retry: { limit: 0 } })).body)`,
  }),
  library('ky', { source: `import ky from 'ky'\nconsole.log(await ky(url, { retry: 0 }).text())` }),
  library('node-fetch', {
    routes: ALL_ROUTES,
    source: `
      import fetch from 'node-fetch'
      import { HttpsProxyAgent } from 'https-proxy-agent'
      console.log(await (await fetch(url, { agent: proxy && new HttpsProxyAgent(proxy) })).text())`,
  }),
  library('superagent', {
    routes: ALL_ROUTES,
    source: `
      import superagent from 'superagent'
      import { HttpsProxyAgent } from 'https-proxy-agent'
      const request = superagent.get(url).buffer(true).parse(superagent.parse.text)
      if (proxy) request.agent(new HttpsProxyAgent(proxy))
      console.log((await request).text)`,
  }),
  library('needle', {
    routes: ALL_ROUTES,
    source: `
      import needle from 'needle'
      import { HttpsProxyAgent } from 'https-proxy-agent'
      const agent = proxy && new HttpsProxyAgent(proxy)
      console.log(String((await needle('get', url, { agent, use_proxy_from_env_var: false })).body))`,
  }),
  library('gaxios', {
    routes: ALL_ROUTES,
    source: `import { request } from 'gaxios'\nconsole.log((await request({ url, responseType: 'text' })).data)`,
  }),
  library(
    '@aws-sdk/client-s3',
    {
      source: `
        import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'
        const credentials = { accessKeyId: 'id', secretAccessKey: 'secret' }
        const client = new S3Client({ endpoint: new URL(url).origin, region: 'any', forcePathStyle: true, credentials, maxAttempts: 1 })
        const { Body } = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'hello.txt' }))
        console.log(await Body.transformToString())
        client.destroy()`,
    },
    'AWS SDK v3 (S3)',
  ),
  library(
    '@azure/core-rest-pipeline',
    {
      routes: ['direct', 'connect'],
      source: `
        import { createDefaultHttpClient, createPipelineFromOptions, createPipelineRequest } from '@azure/core-rest-pipeline'
        const pipeline = createPipelineFromOptions({ retryOptions: { maxRetries: 0 } })
        console.log((await pipeline.sendRequest(createDefaultHttpClient(), createPipelineRequest({ url }))).bodyAsText)`,
    },
    'Azure core-rest-pipeline',
  ),
  library(
    '@octokit/core',
    {
      source: `
        import { Octokit } from '@octokit/core'
        const octokit = new Octokit({ baseUrl: new URL(url).origin })
        console.log((await octokit.request('GET /hello.txt')).data)`,
    },
    'Octokit',
  ),
]
