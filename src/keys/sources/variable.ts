import { wipe } from '../../common/bytes.ts'
import { answered, type KeyAnswer, type KeySource } from '../key-source.ts'
import { readKeyText } from '../key-text.ts'

/** `TICKETKEEP_KEY`: for the secret stores of CI systems, which hand secrets over as variables. */
export function variableSource(value: string | undefined): KeySource {
  return {
    name: 'variable',
    configured: value !== undefined,
    setting: 'TICKETKEEP_KEY',
    read(_asking, done) {
      done(readVariable(value))
      return answered
    },
  }
}

function readVariable(value: string | undefined): KeyAnswer {
  const text = Buffer.from(value ?? '', 'utf8')
  const key = readKeyText(text)
  wipe(text)
  if (typeof key === 'string') return { state: 'refused', reason: `TICKETKEEP_KEY is not a key: ${key}` }
  return { state: 'found', keys: { current: key }, reason: 'TICKETKEEP_KEY is set' }
}
