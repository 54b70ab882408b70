import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { isatty } from 'node:tty'
import spawn from 'cross-spawn'
import { renderError } from './render.ts'

const FORWARDED: readonly NodeJS.Signals[] =
  process.platform === 'win32'
    ? ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGBREAK']
    : ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGCONT', 'SIGWINCH']

/** Signals that a terminal sends to the whole foreground process group, including the command. */
const FROM_TERMINAL: ReadonlySet<string> = new Set(['SIGINT', 'SIGQUIT', 'SIGBREAK', 'SIGCONT', 'SIGWINCH'])

/** Signals that leave a core file. */
const DUMPS: ReadonlySet<string> = new Set([
  'SIGQUIT',
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGSEGV',
  'SIGXCPU',
  'SIGXFSZ',
  'SIGSYS',
])

/**
 * Runs a command with our standard streams, forwards signals to it, and exits as it does. Before that, `ended` is
 * called and awaited. Signals that arrive during that time are ignored, because the command is gone.
 */
export function supervise(
  name: string,
  args: readonly string[],
  env: Record<string, string | undefined>,
  ended: () => void | Promise<void> = () => {},
): void {
  const fail = async (error: NodeJS.ErrnoException) => {
    await ended()
    stop()
    process.exitCode = explain(name, error)
  }
  let child: ChildProcess | undefined
  const handlers = FORWARDED.map((signal) => {
    const handler = () => {
      if (!(FROM_TERMINAL.has(signal) && terminalSentIt())) child?.kill(signal)
    }
    process.on(signal, handler)
    return () => process.off(signal, handler)
  })
  const stop = () => {
    for (const off of handlers) off()
  }
  try {
    // `spawn` throws a TypeError for an empty name. To a shell it is a command that is not found.
    if (name === '') throw Object.assign(new Error(), { code: 'ENOENT' })
    // On Windows `npm` is a batch file, which Node's own spawn neither finds nor runs (CVE-2024-27980).
    child = spawn(name, [...args], { stdio: 'inherit', env })
  } catch (error) {
    void fail(error as NodeJS.ErrnoException)
    return
  }
  child.on('error', (error) => {
    if (child?.pid === undefined) void fail(error)
  })
  child.on('exit', async (code, signal) => {
    await ended()
    stop()
    if (signal) dieOf(signal)
    else process.exitCode = code ?? 1
  })
}

/**
 * Whether the command also got this signal from the terminal. A second one from us would then be too many (npm, vitest
 * and others treat a second Ctrl-C as "exit immediately"). Node does not say who sent a signal, but a background
 * process group gets none from a terminal.
 */
function terminalSentIt(): boolean {
  try {
    // proc_pid_stat(5): after the name in parentheses: state, ppid, pgrp, session, tty_nr, tpgid.
    const fields = readFileSync('/proc/self/stat', 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return fields[2] === fields[5]
  } catch {
    return isatty(0) || isatty(1) || isatty(2)
  }
}

function dieOf(signal: NodeJS.Signals): void {
  // Our own core file would overwrite that of the command (core(5)), which people need.
  if (!DUMPS.has(signal)) {
    try {
      process.kill(process.pid, signal)
    } catch {}
  }
  // The exit status that a shell reports for a signal. It is used for these signals, and for signals that do not end us
  // (Node ignores SIGPIPE).
  process.exitCode = 128 + (constants.signals[signal] ?? 0)
}

function explain(name: string, { code, message }: NodeJS.ErrnoException): 126 | 127 {
  const notFound = code === 'ENOENT' || code === 'ENOTDIR'
  let why = message || code
  if (notFound) why = 'it was not found; check the name and PATH'
  else if (code === 'EACCES') why = 'it is not executable; check the file and its mode'
  process.stderr.write(renderError(`cannot run "${name}": ${why}`))
  return notFound ? 127 : 126
}
