import type { KeyAnswer } from '../key-source.ts'

/** No key, and so nothing on disk: tickets live and die with the process. */
export const memorySource = {
  name: 'memory' as const,
  read: (): KeyAnswer => ({
    state: 'absent',
    creatable: false,
    reason: 'tickets live and die with the process',
  }),
}
