import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageFolder } from '../../common/package-folder.ts'
import { type Command, Failure, UsageError } from '../command.ts'

const SHELLS = ['bash', 'zsh', 'fish']

/** `--json`: `{ "shell": "bash", "code": "…" }` */
export const command: Command = {
  usage: 'completion bash|zsh|fish [--json]',
  help: `
Prints code that completes the commands and options of ticketkeep in a shell.

  bash    source <(ticketkeep completion bash)
  zsh     source <(ticketkeep completion zsh)
  fish    ticketkeep completion fish | source

The first two go into ~/.bashrc, and into ~/.zshrc after "compinit". To avoid starting a program in each
shell, store the code in a file:

  bash    ticketkeep completion bash >~/.local/share/bash-completion/completions/ticketkeep
  zsh     ticketkeep completion zsh >DIRECTORY/_ticketkeep, for a DIRECTORY of $fpath
  fish    ticketkeep completion fish >~/.config/fish/completions/ticketkeep.fish`,
  operands: [1, 1],
  completes: SHELLS,
  run({ operands: [shell = ''] }) {
    if (!SHELLS.includes(shell)) {
      throw new UsageError(`there is no completion for "${shell}"; give one of ${SHELLS.join(', ')}`)
    }
    const code = read(join(packageFolder() ?? '', 'dist', 'completions', `ticketkeep.${shell}`))
    return { json: { shell, code }, text: [{ verbatim: code.trimEnd() }] }
  },
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    throw new Failure('the package is incomplete; install ticketkeep again')
  }
}
