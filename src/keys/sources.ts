import type { KeySettings, KeySourceName } from '../settings.ts'
import { commandSource } from './command.ts'
import { fileSource } from './file.ts'
import { kernelSource } from './kernel.ts'
import type { KeySource } from './key-source.ts'
import { keychainSource } from './keychain.ts'
import { memorySource } from './memory.ts'
import { systemdSource } from './systemd.ts'
import { variableSource } from './variable.ts'

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
