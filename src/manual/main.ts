// Runs when the package is built: writes the man page and the completions.
import { mkdirSync, writeFileSync } from 'node:fs'
import { bashCompletion, fishCompletion, zshCompletion } from './completions.ts'
import { manPage } from './man-page.ts'
import { readTable } from './table.ts'

const table = await readTable()
const files = {
  'man/ticketkeep.1': manPage(table),
  'completions/ticketkeep.bash': bashCompletion(table),
  'completions/ticketkeep.zsh': zshCompletion(table),
  'completions/ticketkeep.fish': fishCompletion(table),
}
for (const folder of ['man', 'completions']) mkdirSync(`dist/${folder}`, { recursive: true })
for (const [name, text] of Object.entries(files)) writeFileSync(`dist/${name}`, text)
