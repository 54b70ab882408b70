import { describe, expect, it } from 'vitest'
import { windowsCommand } from '../../src/cli/windows-command.ts'

const files = new Set(['C:\\n\\node.exe', 'C:\\n\\npm.cmd', 'C:\\n\\npm', 'C:\\t\\odd name.BAT', '.\\x.cmd'])
const isFile = (path: string) => [...files].some((file) => file.toLowerCase() === path.toLowerCase())
const env = { Path: 'C:\\w;"C:\\n";C:\\t', PATHEXT: '.EXE;.cmd;.BAT', ComSpec: 'C:\\cmd.exe' }
const resolve = (name: string, ...args: string[]) => windowsCommand(name, args, env, isFile)

describe('a command on Windows', () => {
  it('that is a program is started as it is', () => {
    expect(resolve('node', '-p', '"%x%"')).toEqual({
      file: 'C:\\n\\node.EXE',
      args: ['-p', '"%x%"'],
      verbatim: false,
    })
    expect(resolve('nowhere')).toEqual({ file: 'nowhere', args: [], verbatim: false })
  })

  it('that is a batch file is found by PATH and PATHEXT and given to cmd.exe', () => {
    const flags = ['/e:ON', '/v:OFF', '/d', '/s', '/c']
    expect(resolve('npm', 'ci')).toEqual({
      file: 'C:\\cmd.exe',
      args: [...flags, '""C:\\n\\npm.cmd" ci"'],
      verbatim: true,
    })
    expect(resolve('odd name').args.at(-1)).toBe('""C:\\t\\odd name.BAT""')
    expect(resolve('.\\x').args.at(-1)).toBe('"".\\x.cmd""')
    expect(resolve('npm.cmd').args.at(-1)).toBe('""C:\\n\\npm.cmd""')
  })

  it.each([
    ['plain-1.0', 'plain-1.0'],
    ['', '""'],
    ['a b', '"a b"'],
    ['a&calc', '"a&calc"'],
    ['^|<>!()', '"^|<>!()"'],
    ['"', '""""'],
    ['\\"', '"\\\\"""'],
    ['C:\\dir\\', '"C:\\dir\\\\"'],
    ['%PATH%', '"%%cd:~,%PATH%%cd:~,%"'],
  ])('gets %j as %s', (arg, quoted) => {
    expect(resolve('npm', arg).args.at(-1)).toBe(`""C:\\n\\npm.cmd" ${quoted}"`)
  })

  it('is not run with an argument that a batch file cannot take', () => {
    expect(() => resolve('npm', 'a\nb')).toThrow('a batch file takes no argument with a line break')
  })
})
