import { renderError } from './render.ts'
import { type Counts, collectSummary, createSummaryFile, handUp, summaryLine } from './summary.ts'
import { supervise } from './supervise.ts'

/** Runs the command, then says in one line on stderr what its processes did. */
export function runWithSummary(
  name: string,
  args: readonly string[],
  env: Record<string, string | undefined>,
  json: boolean,
  ended: () => void = () => {},
): void {
  const outer = env.TICKETKEEP_SUMMARY_FILE
  let file: string
  try {
    file = createSummaryFile()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    process.stderr.write(renderError(`no temporary file can be made (${code}), so there will be no summary`))
    supervise(name, args, env, ended)
    return
  }
  supervise(name, args, { ...env, TICKETKEEP_SUMMARY_FILE: file }, () => {
    const counts: Counts = collectSummary(file)
    if (outer) handUp(outer, counts)
    process.stderr.write(summaryLine(counts, json))
    ended()
  })
}
