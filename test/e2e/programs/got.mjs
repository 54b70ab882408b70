import got from 'got'

const { statusCode, body } = await got(process.argv[2])
console.log(statusCode, body.trim())
