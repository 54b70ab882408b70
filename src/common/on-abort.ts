/**
 * Calls back once when the signal is aborted. The caller must remove the listener when it no longer needs it: Node
 * prints a warning if more than ten listeners are on one signal.
 *
 * @returns a function that removes the listener
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  signal.addEventListener('abort', callback, { once: true })
  return () => signal.removeEventListener('abort', callback)
}
