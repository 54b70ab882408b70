/**
 * Whether a process with this number exists, as far as is known (kill(2)). In a container, processes outside of it seem to have
 * ended.
 */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}
