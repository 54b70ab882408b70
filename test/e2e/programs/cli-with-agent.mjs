// A command of thirty lines that resumes by itself: `cli-with-agent URL CA-FILE` prints what the server answers.
import { readFileSync } from 'node:fs'
import https from 'node:https'
import { TicketAgent } from 'ticketkeep'

const [url, caFile] = process.argv.slice(2)
if (!url) {
  console.error('usage: cli-with-agent URL [CA-FILE]')
  process.exit(2)
}

const agent = new TicketAgent({ keepAlive: true })

function get(path) {
  return new Promise((done, fail) => {
    const request = https.get(path, { agent, ...(caFile && { ca: readFileSync(caFile) }) }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (part) => (text += part))
      response.on('end', () => done(text))
    })
    request.on('error', fail)
  })
}

get(url)
  .then((text) => process.stdout.write(text))
  .catch((error) => {
    console.error(error.message)
    process.exitCode = 1
  })
  .finally(() => agent.destroy())
