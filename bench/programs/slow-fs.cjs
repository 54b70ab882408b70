// Simulates a slow file system: each function of `fs` takes DELAY milliseconds longer for paths below the folder SLOW
// and for files opened there. Must be loaded before ticketkeep's preload, which captures the functions of `fs`. At exit
// it prints the number of calls.
const fs = require('node:fs')
const { SLOW: folder, DELAY: delay } = process.env

/** These call other functions of `fs`, which are delayed themselves. */
const CALLS_OTHERS = ['readFileSync', 'writeFileSync']

const write = fs.writeSync
const cell = new Int32Array(new SharedArrayBuffer(4))
const opened = new Set()
let depth = 0
let calls = 0

const isBelow = (path) => typeof path === 'string' && path.startsWith(folder)

for (const name of Object.keys(fs).filter((one) => one.endsWith('Sync'))) {
  const real = fs[name]
  fs[name] = (...args) => {
    if (!isBelow(args[0]) && !isBelow(args[1]) && !opened.has(args[0])) return real(...args)
    if (depth === 0) calls++
    if (Number(delay) > 0 && !CALLS_OTHERS.includes(name)) Atomics.wait(cell, 0, 0, Number(delay))
    depth++
    try {
      const result = real(...args)
      if (name === 'openSync') opened.add(result)
      if (name === 'closeSync') opened.delete(args[0])
      return result
    } finally {
      depth--
    }
  }
}

process.on('exit', () => write(1, ` ${calls}`))
