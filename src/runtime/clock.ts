/** The time functions as they were when the preload ran: tests replace them with fake clocks. */
export interface Clock {
  /** UNIX milliseconds. */
  readonly now: () => number
  readonly setTimeout: typeof setTimeout
  readonly clearTimeout: typeof clearTimeout
  readonly setImmediate: typeof setImmediate
  readonly nextTick: typeof process.nextTick
}
