import { writeSync } from 'node:fs'
import { defaultDirectory } from '../../src/store/private-directory.ts'

writeSync(1, defaultDirectory() ?? 'none')
