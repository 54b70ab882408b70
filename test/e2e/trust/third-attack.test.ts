// What a third attacker found, who had read SECURITY.md and the page of admission first.
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../../support/pinned.ts'
import { type Authority, createAuthority, type Identity } from '../../support/pki.ts'
import { DIST, PRELOAD } from '../../support/places.ts'
import { startTlsServer, type TlsServerOptions } from '../../support/tls-server.ts'
import { type Attempt, inSandbox, ONE, offered, run } from './kit.ts'
