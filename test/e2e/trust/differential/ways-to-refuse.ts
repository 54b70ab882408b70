import { REFUSING_BY_OPTIONS } from './refusing-by-options.ts'
import { REFUSING_BY_PROCESS } from './refusing-by-process.ts'
import type { Way } from './way.ts'

export const WAYS_TO_REFUSE: readonly Way[] = [...REFUSING_BY_OPTIONS, ...REFUSING_BY_PROCESS]
