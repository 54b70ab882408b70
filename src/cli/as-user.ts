// How root queries other users. Root's own process never opens, follows or creates a file of theirs. A process with
// that user's rights does it, so a symbolic link that the user planted reaches nothing that the user could not reach.
import { execFileSync, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import { Failure } from './command.ts'
import { printable, type Report, widthOf } from './render.ts'

/** Limits for the child process, because that user can stop it or make it print anything. Milliseconds, characters. */
const TIME_LIMIT = 30_000
const MOST_OUTPUT = 1_048_576

interface User {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/**
 * Runs one of our commands as another user, in the environment of a user before login.
 * @throws {Failure}
 */
export async function asUser(name: string, args: readonly string[], json: boolean): Promise<Report> {
  const user = findUser(name)
  const { code, output, errors } = await runAs(user, [...args, ...(json ? ['--json'] : [])])
  if (code !== 0 && (code !== 1 || output === '')) {
    throw new Failure(
      `as ${name}: ${errors.trim().replace(/^ticketkeep: /, '') || 'it was killed before it finished'}`,
    )
  }
  const exitCode = code as 0 | 1
  // It has its lines already. No escape sequence of that user's reaches root's terminal.
  const text = [{ verbatim: printable(output.replace(/\n$/, '')) }]
  return { json: json ? parse(name, output) : undefined, text, exitCode }
}

/**
 * The JSON output of one of our commands, run as this user. It must not be trusted.
 * @throws {Failure}
 */
export async function askAs(name: string, args: readonly string[]): Promise<unknown> {
  return (await asUser(name, args, true)).json
}

function parse(name: string, output: string): unknown {
  try {
    return JSON.parse(output)
  } catch {
    throw new Failure(`as ${name}: its answer cannot be read`)
  }
}

function findUser(name: string): User {
  if (process.getuid?.() !== 0) throw new Failure('only root can manage other users; run it with sudo')
  try {
    return { name, uid: idOf('-u', name), gid: idOf('-g', name) }
  } catch {
    throw new Failure(`there is no user "${name}" on this machine`)
  }
}

// `id` finds every user that the system knows, including those from LDAP. Node cannot look up a user by name.
function idOf(flag: string, name: string): number {
  const output = execFileSync('id', [flag, '--', name], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const id = Number(output.trim())
  if (output.trim() === '' || !Number.isInteger(id)) throw new Error('no number')
  return id
}

interface Ended {
  /** Null if a signal ended it. */
  readonly code: number | null
  readonly output: string
  readonly errors: string
}

function runAs({ name, uid, gid }: User, args: readonly string[]): Promise<Ended> {
  const width = widthOf(process.stdout)
  // Without HOME, all code uses the home directory of the uid. With `uid` and `gid`, Node also drops root's
  // supplementary groups.
  const child = spawn(process.execPath, [realpathSync(process.argv[1]!), ...args], {
    uid,
    gid,
    cwd: '/',
    env: { PATH: '/usr/bin:/bin', ...(width && { COLUMNS: `${width}` }) },
    // A separate session, so that a process of that user cannot type into root's terminal.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIME_LIMIT,
    killSignal: 'SIGKILL',
  })
  const said = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text
      if (said[stream].length > MOST_OUTPUT) child.kill('SIGKILL')
    })
  }
  return new Promise((done, fail) => {
    child.on('error', ({ code }: NodeJS.ErrnoException) =>
      fail(new Failure(`Node cannot be run as ${name} (${code}): can that user read ${process.execPath}?`)),
    )
    child.on('close', (code) => done({ code, output: said.stdout, errors: said.stderr }))
  })
}
