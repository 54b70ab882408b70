/** The current time in UNIX seconds. */
export const unixNow = (): number => Math.floor(Date.now() / 1000)

/**
 * Milliseconds of the monotonic clock, which cannot be set. Not `performance.now()`, whose first call takes 2 to 7 ms.
 */
export const elapsed = (): number => Number(process.hrtime.bigint()) / 1e6
