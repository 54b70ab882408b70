import { isMainThread, Worker } from 'node:worker_threads'
import { whyProcessIsLeftAlone } from '../../src/tls/process-admission.ts'
import { readProcessStart } from '../../src/tls/process-start.ts'

// Prints why this process is left alone, or null; of a worker, if asked to.
const start = readProcessStart(process.env)
if (isMainThread && process.argv.includes('in-a-worker')) new Worker(__filename)
else console.log(JSON.stringify(whyProcessIsLeftAlone(start) ?? null))
