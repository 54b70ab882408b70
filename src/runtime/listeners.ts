import type { EventEmitter } from 'node:events'

/** Node warns where one event has more than ten listeners: ours must not be what brings that on. */
export function makeRoom(emitter: EventEmitter, listeners: number): void {
  const most = emitter.getMaxListeners()
  if (most > 0) emitter.setMaxListeners(most + listeners)
}
