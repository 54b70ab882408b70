/**
 * Calls back once when the signal is aborted. Whoever is done with the signal before must say so: Node prints a
 * warning where more than ten listeners wait on one signal.
 *
 * @returns ends the wait
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  signal.addEventListener('abort', callback, { once: true })
  return () => signal.removeEventListener('abort', callback)
}
