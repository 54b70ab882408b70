import type { Client } from './client.ts'
import { HTTP_LIBRARIES } from './table/http-libraries.ts'
import { NODE } from './table/node.ts'
import { OTHER_LIBRARIES } from './table/other-libraries.ts'
import { OTHER_RUNTIMES } from './table/other-runtimes.ts'
import { PACKAGE_MANAGERS } from './table/package-managers.ts'
import { RUNNERS } from './table/runners.ts'

/** The lines of the matrix, as the page shows them. */
export const CLIENTS: readonly Client[] = [
  ...NODE,
  ...HTTP_LIBRARIES,
  ...OTHER_LIBRARIES,
  ...PACKAGE_MANAGERS,
  ...RUNNERS,
  ...OTHER_RUNTIMES,
]
