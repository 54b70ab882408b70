// Loads what every program with TLS loads, and LIBRARY, if set. Prints how long that took, in milliseconds.
const { writeSync } = require('node:fs')
require('node:https')
const start = performance.now()
if (process.env.LIBRARY) require(process.env.LIBRARY)
writeSync(1, `. ${performance.now() - start}`)
