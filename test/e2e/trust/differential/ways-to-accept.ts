import { ACCEPTING_BY_OPTIONS } from './accepting-by-options.ts'
import { ACCEPTING_BY_PROCESS } from './accepting-by-process.ts'
import type { Way } from './way.ts'

export const WAYS_TO_ACCEPT: readonly Way[] = [...ACCEPTING_BY_OPTIONS, ...ACCEPTING_BY_PROCESS]
