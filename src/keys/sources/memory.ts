import type { KeySource } from '../key-source.ts'

/** No key, and so nothing on disk: tickets live only as long as the process. */
export const memorySource: KeySource = {
  name: 'memory',
  read: () => ({ state: 'absent', creatable: false, reason: 'tickets live and die with the process' }),
}
