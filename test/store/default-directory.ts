import { writeSync } from 'node:fs'
import { storeDirectory } from '../../src/store/private-directory.ts'

writeSync(1, storeDirectory(undefined) ?? 'none')
