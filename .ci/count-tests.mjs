// Prints the last line of a CI run, `N passed, N failed, N skipped`, from vitest's report.
import { readFileSync } from 'node:fs'

let line = '0 passed, 1 failed'
try {
  const report = JSON.parse(readFileSync('.cache/test-results.json', 'utf8'))
  // A test file that failed to load has no test results.
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.length === 0,
  )
  const failed = report.numFailedTests + broken.length || Number(!report.success)
  line = `${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests + report.numTodoTests} skipped`
} catch {}
console.log(line)
