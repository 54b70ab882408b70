import { isMainThread, Worker } from 'node:worker_threads'
import { whyProcessIsLeftAlone } from '../../src/tls/process-admission.ts'
import { readProcessStart } from '../../src/tls/process-start.ts'

// Prints why this process, or a worker without its own flags and variables, is left alone, or null.
const start = readProcessStart(process.env)
const [, , where, title] = process.argv
if (isMainThread && title) process.title = title
if (isMainThread && where === 'in-a-worker') new Worker(__filename, { execArgv: [], env: {} })
else console.log(JSON.stringify(whyProcessIsLeftAlone(start) ?? null))
