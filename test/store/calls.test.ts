import { expect, test } from 'vitest'
import { node, useBundle } from '../support/children.ts'
import { fresh } from '../support/directories.ts'

const script = useBundle(new URL('./calls-child.ts', import.meta.url))

type Counted<T> = { result: T; calls: string[] }
const run = async (directory: string, seconds = 0) => {
  const { stdout, stderr } = await node(script.path, [directory, `${seconds}`]).done
  expect(stderr).toBe('')
  return JSON.parse(stdout) as { take: Counted<number>; burst: Counted<number[]>; save: Counted<number> }
}

test.each([0, 2])(
  'a warm program that stores its tickets after %i s makes 11 calls of fs on the store',
  async (s) => {
    const directory = fresh()
    await run(directory)
    const { take, burst, save } = await run(directory, s)
    expect([take.result, save.result]).toEqual([2, 2])
    expect(take.calls).toEqual([
      'lstatSync',
      'lstatSync',
      'readdirSync',
      'openSync',
      'readSync',
      'closeSync',
      'unlinkSync',
    ])
    expect(burst).toEqual({ result: Array(50).fill(0), calls: [] })
    expect(save.calls).toEqual(['openSync', 'writeSync', 'closeSync', 'renameSync'])
  },
)

test('a program without a store makes one call of fs', async () => {
  expect((await run(fresh())).take.calls).toEqual(['lstatSync'])
})
