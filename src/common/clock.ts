/** The time, in UNIX seconds. */
export const unixNow = (): number => Math.floor(Date.now() / 1000)

/** Milliseconds by a clock that nobody sets. `performance.now()` takes 2 to 7 ms when it is first called. */
export const elapsed = (): number => Number(process.hrtime.bigint()) / 1e6
