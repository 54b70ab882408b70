import type { EventEmitter } from 'node:events'

/**
 * Node warns where one event has more than ten listeners: ours must not be what brings that on. As an accessor, since
 * whoever sets another limit, or another default, later means the program's listeners.
 */
export function makeRoom(emitter: EventEmitter, listeners: number): void {
  const events = process.getBuiltinModule('node:events') as typeof import('node:events')
  const before = Reflect.getOwnPropertyDescriptor(emitter, '_maxListeners')
  let given: number | undefined = before?.value
  Reflect.defineProperty(emitter, '_maxListeners', {
    configurable: true,
    enumerable: true,
    get() {
      const most = before?.get ? before.get.call(emitter) : (given ?? events.defaultMaxListeners)
      return most > 0 ? most + listeners : most
    },
    set(most: number) {
      if (before?.set) before.set.call(emitter, most)
      else given = most
    },
  })
}
