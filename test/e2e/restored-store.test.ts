// A CI cache may restore a store with other modes, since GitLab and zip archives do not keep modes.
import { chmodSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { CLI } from '../support/places.ts'
import {
  createSandbox,
  exampleProgram,
  runCommand,
  runProgram,
  type Sandbox,
} from '../support/run-program.ts'
import { useServer } from '../support/servers.ts'

describe.skipIf(process.platform === 'win32')('a store that was restored with the modes', () => {
  const given = useServer()

  const below = ({ tickets }: Sandbox) => [
    tickets,
    ...readdirSync(tickets, { recursive: true, encoding: 'utf8' }).map((name) => join(tickets, name)),
  ]

  for (const line of NODE_LINES) {
    test.skipIf(missingNode(line)).each([
      ['umask 022', 0o755, 0o644],
      ['umask 002', 0o775, 0o664],
    ])(`of %s serves its first program on Node ${line}`, async (_, folders, files) => {
      const sandbox = createSandbox()
      try {
        const env = { NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', given.ca.cert) }
        const path = `/${line}-${folders}`
        const args = [`https://localhost:${given.server.port}${path}`]
        const visit = () =>
          runProgram({ sandbox, node: nodeBinary(line), file: exampleProgram('https-get.cjs'), args, env })
        await visit()
        expect(sandbox.stored()).toHaveLength(1)
        for (const one of below(sandbox)) chmodSync(one, statSync(one).isDirectory() ? folders : files)
        const status = () =>
          runCommand({ sandbox, env, preload: false }, [process.execPath, CLI, 'status', '--json'])
        expect(JSON.parse((await status()).stdout)).toMatchObject({ keeping: true, tickets: 2 })
        expect(await visit()).toMatchObject({ status: 0, stderr: '' })
        const reused = given.server.requests
          .filter(({ url }) => url === path)
          .map((request) => request.reused)
        expect(reused).toEqual([false, true])
        expect(statSync(sandbox.tickets).mode & 0o777).toBe(0o700)
      } finally {
        sandbox.remove()
      }
    })
  }
})
