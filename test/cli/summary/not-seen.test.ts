import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { expect, it } from 'vitest'
import { whoIsNotSeen } from '../../../src/cli/summary/not-seen.ts'
import { scratch } from '../../support/directories.ts'
import { findCommand } from '../../support/missing.ts'

const folder = scratch()
const path = [folder, process.env.PATH].join(delimiter)
const put = (name: string, content: string | Buffer) =>
  writeFileSync(join(folder, name), content, { mode: 0o755 })

copyFileSync(findCommand('ls')!, join(folder, 'bun'))
symlinkSync('bun', join(folder, 'pnpm'))
put('macos', Buffer.from('cffaedfe0c000001', 'hex'))
put('windows.exe', 'MZ\x90\0')
put('script', '#!/usr/bin/env bun\n')
put('script-with-flags', '#!/usr/bin/env -S A=1 bun --smol\n')
put('script-of-a-script', '#!script\n')
put('npm', '#!/usr/bin/env node\n')
put('shell', '#!/bin/sh\nexec bun\n')
put('text', 'exec bun\n')
put('empty', '')
put('circle', `#!${join(folder, 'circle')}\n`)
mkdirSync(join(folder, 'directory'))

it.each(['bun', 'pnpm', 'macos', 'windows.exe', 'script', 'script-with-flags', 'script-of-a-script'])(
  'recognises a program that is not Node: %s',
  (name) => {
    expect(whoIsNotSeen(name, path)).toBe(name)
    expect(whoIsNotSeen(join(folder, name), path)).toBe(name)
  },
)

it.each([
  'npm',
  'shell',
  'text',
  'empty',
  'circle',
  'directory',
  'nowhere',
  '',
  'node',
  'sh',
  'env',
  process.execPath,
])('names nothing for Node, for starters of programs and for unknown files: %j', (name) =>
  expect(whoIsNotSeen(name, path)).toBeUndefined(),
)
