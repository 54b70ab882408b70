import type { KeySettings, KeySourceName } from '../settings.ts'
import type { KeySource } from './key-source.ts'
import { kernelSource } from './linux/kernel-keyring.ts'
import { commandSource } from './sources/command.ts'
import { fileSource } from './sources/file.ts'
import { keychainSource } from './sources/keychain.ts'
import { memorySource } from './sources/memory.ts'
import { systemdSource } from './sources/systemd.ts'
import { variableSource } from './sources/variable.ts'

/** Every source, in the order in which `auto` asks. */
export function keySources(settings: KeySettings): KeySource[] {
  return [
    variableSource(settings.variable),
    fileSource(settings.file),
    commandSource(settings.command),
    systemdSource(settings.credentialsDirectory),
    keychainSource(settings),
    kernelSource,
    memorySource,
  ]
}

export function keySource(name: KeySourceName, settings: KeySettings): KeySource | undefined {
  return keySources(settings).find((source) => source.name === name)
}
