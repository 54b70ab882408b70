import { buildIfStale } from './build.ts'
import { whatIsMissing } from './missing.ts'
import { install } from './pinned.ts'

/** Before any test: what is run is what is in src, and what can be had for the tests is there. */
export default function setup() {
  try {
    buildIfStale()
  } catch (error) {
    // A failed build leaves no dist, so what needs it fails; what does not can still be tested.
    console.error(error)
  }
  const reasons = [install('nodes'), install('clients')].filter((reason) => reason !== undefined)
  for (const line of [...reasons, ...whatIsMissing()]) console.log(`some tests are skipped: ${line}`)
}
