// The last line of a CI run: `N passed, N failed, N skipped`, from the report that vitest leaves.
import { readFileSync } from 'node:fs'

let line = '0 passed, 1 failed'
try {
  const report = JSON.parse(readFileSync('.cache/test-results.json', 'utf8'))
  // A file that cannot even be loaded has no tests to count.
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  )
  const failed = report.numFailedTests + broken.length || Number(!report.success)
  line = `${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`
} catch {}
console.log(line)
