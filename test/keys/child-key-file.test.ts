import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { removeChildKeyFiles, writeChildKeyFile } from '../../src/keys/child-key-file.ts'
import { KEY, KEY_TEXT, keySettings } from '../support/keychains.ts'
import { describeWith } from '../support/missing.ts'
import { CACHE } from '../support/places.ts'

const missing =
  process.platform === 'linux' && existsSync('/dev/shm') ? undefined : 'there is no memory file system'
mkdirSync(CACHE, { recursive: true })
const folder = mkdtempSync(join(CACHE, 'keys-')) // on a disk, which /tmp may not be
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describeWith(missing, 'the key of a command', () => {
  const log = join(folder, 'calls')
  const command = `sh -c 'echo x >>${log}; echo ${KEY_TEXT}'`

  test('is passed to children in a private file in memory, which is removed when they have ended', () => {
    chmodSync(folder, 0o755)
    const handed = writeChildKeyFile(keySettings({ command }), 'children')!
    const file = handed.variables.TICKETKEEP_KEY_FILE
    expect(handed.variables.TICKETKEEP_KEY_SOURCE).toBe('file')
    expect(statSync(file).mode & 0o7777).toBe(0o600)
    expect(new Uint8Array(readFileSync(file))).toEqual(KEY)
    expect(readFileSync(log, 'utf8')).toBe('x\n')
    handed.remove()
    expect(existsSync(file)).toBe(false)
    handed.remove()
  })

  test('is passed to a login in one file, even if repeatedly', () => {
    const first = writeChildKeyFile(keySettings({ command }), 'login')!
    const second = writeChildKeyFile(keySettings({ command }), 'login')!
    expect(second.variables).toEqual(first.variables)
    second.remove()
  })

  test('to a login has another name, if that is taken by another user', () => {
    const first = writeChildKeyFile(keySettings({ command }), 'login')!
    const file = first.variables.TICKETKEEP_KEY_FILE
    first.remove()
    mkdirSync(file) // which nothing can be renamed to either
    try {
      const handed = [1, 2].map(() => writeChildKeyFile(keySettings({ command }), 'login')!)
      const [one, two] = handed.map(({ variables }) => variables.TICKETKEEP_KEY_FILE)
      expect(one).toBe(two)
      expect(one).not.toBe(file)
      expect(removeChildKeyFiles(undefined)).toContain(one)
    } finally {
      rmdirSync(file)
    }
  })

  test('to children of a process that was killed is removed by the next a day later, and by purge', () => {
    const { pid } = spawnSync('true')
    const other = writeChildKeyFile(keySettings({ command }), 'children')!
    const running = other.variables.TICKETKEEP_KEY_FILE
    const [young, old] = ['a', 'b'].map((letter) =>
      running.replace(/-\d+-[0-9a-f]+\.key$/, `-${pid}-${letter.repeat(24)}.key`),
    ) as [string, string]
    for (const file of [young, old]) writeFileSync(file, KEY)
    for (const file of [running, old]) utimesSync(file, 1, 1)
    writeChildKeyFile(keySettings({ command }), 'children')!.remove()
    expect([running, young, old].map((file) => existsSync(file))).toEqual([true, true, false])
    expect(removeChildKeyFiles(undefined).sort()).toEqual([running, young].sort())
    expect(existsSync(running)).toBe(false)
  })

  test('is not passed on if another source comes first or the command fails', () => {
    const calls = readFileSync(log, 'utf8')
    expect(writeChildKeyFile(keySettings({ command, variable: KEY_TEXT }), 'children')).toBeUndefined()
    expect(writeChildKeyFile(keySettings({ command, source: 'memory' }), 'children')).toBeUndefined()
    expect(writeChildKeyFile(keySettings({ variable: KEY_TEXT }), 'children')).toBeUndefined()
    expect(readFileSync(log, 'utf8')).toBe(calls)
    expect(
      writeChildKeyFile(keySettings({ command: 'false', source: 'command' }), 'children'),
    ).toBeUndefined()
  })

  test('is never written into a folder that others can change or that is on a disk', () => {
    chmodSync(folder, 0o700)
    const handed = writeChildKeyFile(keySettings({ command, runtimeDirectory: folder }), 'children')!
    expect(handed.variables.TICKETKEEP_KEY_FILE).not.toContain(folder)
    handed.remove()
  })
})
