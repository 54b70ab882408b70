/** Time as the preload found it: tests put clocks of their own in its place. */
export interface Clock {
  /** UNIX milliseconds. */
  readonly now: () => number
  readonly setTimeout: typeof setTimeout
  readonly clearTimeout: typeof clearTimeout
  readonly setImmediate: typeof setImmediate
  readonly nextTick: typeof process.nextTick
}
