import { request } from 'undici'

const { statusCode, body } = await request(process.argv[2])
console.log(statusCode, (await body.text()).trim())
