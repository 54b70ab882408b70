import { generateKeySync, randomBytes } from 'node:crypto'

const MOST = 32

/**
 * Random bytes for what outlasts this process and serves others: the master key, and what encrypts it. A program may have
 * replaced `randomBytes`, as tests do. So the bytes of two functions are combined by XOR, and one genuine function is enough.
 *
 * @param bytes 32 at most
 */
export function lastingRandom(bytes: number): Uint8Array {
  const random = new Uint8Array(generateKeySync('aes', { length: MOST * 8 }).export())
  if (random.length !== MOST || bytes > MOST) throw new Error('there are no random numbers')
  const others: unknown = randomBytes(MOST)
  if (others instanceof Uint8Array) for (let i = 0; i < MOST; i++) random[i]! ^= others[i] ?? 0
  return random.slice(0, bytes)
}
