import { spellOption, version } from '../cli/help.ts'
import { type Entry, summaries } from './table.ts'

/** Escapes text for roff(7), so that no line becomes a request and no character changes. */
const roff = (text: string) =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/[^\x00-\x7f]/g, (c) => `\\[u${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}]`)
    .replace(/^([.'])/gm, '\\&$1')

/** The paragraphs of a help text. Indented lines are examples. */
function paragraphs(help: string): string {
  return help
    .trim()
    .split('\n\n')
    .map((one) => (one.startsWith(' ') ? `.PP\n.nf\n${roff(one)}\n.fi` : `.PP\n${roff(one)}`))
    .join('\n')
}

function section({ name, command, options }: Entry): string {
  const usage = command.usage.slice(name.length).trim()
  const described = options.filter(([, { about }]) => about !== undefined)
  return [
    `.SS ${roff(name)}`,
    `.B ticketkeep ${roff(name)}`,
    roff(usage),
    paragraphs(command.help),
    ...described.map(
      ([option, about]) => `.TP\n.B ${roff(spellOption(option, about))}\n${roff(about.about!)}`,
    ),
  ]
    .filter((line) => line !== '')
    .join('\n')
}

/** ticketkeep(1), in the man macros. Source: man(7). */
export function manPage(table: readonly Entry[]): string {
  return `.TH TICKETKEEP 1 "" "ticketkeep ${version()}" "User Commands"
.SH NAME
ticketkeep \\- TLS session resumption across runs of Node programs
.SH SYNOPSIS
.B ticketkeep
.I COMMAND
[OPTION...]
.SH DESCRIPTION
Lets short\\-lived Node programs resume TLS sessions across runs, and keeps the session tickets encrypted on disk.
.PP
${summaries(table)
  .map(([name, summary]) => `.TP\n.B ${roff(name)}\n${roff(summary)}`)
  .join('\n')}
.SH COMMANDS
${table.map(section).join('\n')}
.SH "EXIT STATUS"
0 done, 1 failed, 2 wrong usage. "run" exits as its command does.
.SH ENVIRONMENT
.TP
.B TICKETKEEP_DISABLE
switches ticketkeep off
.TP
.B TICKETKEEP_DIR
the folder of the tickets
.TP
.B TICKETKEEP_KEY, TICKETKEEP_KEY_FILE, TICKETKEEP_KEY_COMMAND, TICKETKEEP_KEY_SOURCE
where the key comes from
.TP
.B TICKETKEEP_CIPHER
xsalsa20\\-poly1305 or aes\\-256\\-gcm
.TP
.B TICKETKEEP_REUSE
offer TLS 1.3 tickets more than once
.TP
.B TICKETKEEP_CLIENT_CERT
store sessions made with a client certificate
.TP
.B NODE_DEBUG=ticketkeep
say on standard error what is offered, stored or skipped, and why
.TP
.B COLUMNS
the width of what is printed, where that goes to no terminal
.SH FILES
.TP
.I ~/.config/ticketkeep/key
the key, if you keep it in a file
.TP
.I ~/.config/ticketkeep/loader.cjs
what NODE_OPTIONS names; root's is in /etc/ticketkeep
.TP
.I ~/.cache/ticketkeep/tls\\-tickets
the tickets, encrypted
`
}
