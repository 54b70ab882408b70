import type { EventEmitter } from 'node:events'

/**
 * Node warns where one event has more than ten listeners: ours must not be what brings that on.
 * @param listeners how many more there are at one event; negative: they are gone
 */
export function makeRoom(emitter: EventEmitter, listeners: number): void {
  const most = emitter.getMaxListeners()
  if (most > 0) emitter.setMaxListeners(Math.max(most + listeners, 1))
}
