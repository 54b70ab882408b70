import { wipe } from '../../common/bytes.ts'
import type { KeyAnswer } from '../key-source.ts'
import { readKeyText } from '../key-text.ts'

/** `TICKETKEEP_KEY`: for CI systems, which pass secrets as variables. */
export function readVariable(value: string | undefined): KeyAnswer {
  if (value === undefined) return { state: 'not set', reason: 'TICKETKEEP_KEY is not set' }
  const text = Buffer.from(value, 'utf8')
  const key = readKeyText(text)
  wipe(text)
  if (typeof key === 'string') return { state: 'refused', reason: `TICKETKEEP_KEY is not a key: ${key}` }
  return { state: 'found', keys: { current: key }, reason: 'TICKETKEEP_KEY is set' }
}
