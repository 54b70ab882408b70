import { join } from 'node:path'
import { expect, it } from 'vitest'
import { describeWith, missingNode } from '../../support/missing.ts'
import { nodeBinary } from '../../support/pinned.ts'
import type { Sandbox } from '../../support/run-program.ts'
import { accepts, isRefused, useCertifiedServer, type Ways } from './certified-server.ts'
import {
  clockAt,
  clockInFile,
  DISGUISES,
  missingClock,
  missingMounts,
  missingPackages,
  opensslConf,
  PACKAGES,
  securityLevel,
  withMachineConfiguration,
} from './differential/way.ts'
import { type Attempt, inSandbox, LINES, ONE, run } from './kit.ts'

// What decides trust is disguised, or changes unseen: wrappers, configurations of OpenSSL, files and lists of CAs.

const given = useCertifiedServer()

const pkg = `const pkg = require('node:module').createRequire(${JSON.stringify(`${PACKAGES}/`)})`
for (const line of LINES) {
  const node = { node: nodeBinary(line) }

  describeWith(
    [missingNode(line), missingPackages()],
    `Node ${line}: where Function.prototype.toString is patched`,
    () => {
      for (const by of ['@sentry/core', 'zone.js']) {
        it(`by ${by}, a wrapped tls.checkServerIdentity still refuses a server`, () =>
          inSandbox(async (sandbox) => {
            const input = { ...given.target, ca: given.root.cert }
            await accepts(sandbox, ONE, input, node)
            const body = `${pkg}
            ${DISGUISES[by]}
            wrap('checkServerIdentity', () => () => Object.assign(new Error('pin'), { code: 'PIN' }))
            ${ONE}`
            await isRefused(sandbox, body, input, node)
          }))

        it(`by ${by}, a session that a wrapped tls.createSecureContext trusted is not offered to other programs`, () =>
          inSandbox(async (sandbox) => {
            const body = `${pkg}
            ${DISGUISES[by]}
            wrap('createSecureContext', (own) => (options) => own({ ...options, ca: input.trusted }))
            report(await attempt({ ...input, trusted: undefined }))`
            await accepts(
              sandbox,
              body,
              { ...given.target, trusted: given.root.cert, ca: given.otherRoot.cert },
              node,
            )
            await isRefused(sandbox, ONE, { ...given.target, ca: given.otherRoot.cert }, node)
          }))
      }
    },
  )

  describeWith(
    missingNode(line),
    `Node ${line}: an OpenSSL configuration that refuses the server is obeyed`,
    () => {
      /** First with a configuration of security level 1, then with level 4, which P-256 does not reach. */
      const changing = (write: (sandbox: Sandbox, level: number) => Ways) => () =>
        inSandbox(async (sandbox) => {
          const input = { ...given.target, ca: given.root.cert }
          await accepts(sandbox, ONE, input, { ...node, ...write(sandbox, 1) })
          await isRefused(sandbox, ONE, input, { ...node, ...write(sandbox, 4) })
        })
      const conf = (level: number | string) => opensslConf(securityLevel(level))
      it(
        'where NODE_OPTIONS names one file and the command line another',
        changing((sandbox, level) => ({
          nodeOptions: `--openssl-config=${sandbox.write('first.cnf', '')}`,
          flags: [`--openssl-config=${sandbox.write('second.cnf', conf(level))}`],
        })),
      )
      it(
        'where its path has a space and is quoted',
        changing((sandbox, level) => {
          sandbox.write('with', '')
          const path = sandbox.write('with space.cnf', conf(level))
          return { nodeOptions: `--openssl-config="${path}"` }
        }),
      )
      it(
        'where a line continuation hides an .include',
        changing((sandbox, level) => {
          const inner = sandbox.write('inner.cnf', conf(level))
          return { env: { OPENSSL_CONF: sandbox.write('outer.cnf', `.inc\\\nlude ${inner}\n`) } }
        }),
      )
      it(
        'where a line continuation hides a variable of the environment',
        changing((sandbox, level) => ({
          env: { OPENSSL_CONF: sandbox.write('asks.cnf', conf('$EN\\\nV::LEVEL')), LEVEL: String(level) },
        })),
      )
      describeWith(missingMounts(), 'in the machine’s own configuration', () => {
        it(
          'where that includes another file',
          changing((sandbox, level) => {
            const inner = sandbox.write('inner.cnf', conf(level))
            return { prefix: withMachineConfiguration(sandbox.write('machine.cnf', `.include ${inner}\n`)) }
          }),
        )
      })
    },
  )

  describeWith([missingNode(line), missingClock()], `Node ${line}: after the clock is set forward`, () => {
    const stepped = (sandbox: Sandbox): Ways => {
      sandbox.write('clock', '+0')
      const env = { ...clockInFile, FAKETIME_TIMESTAMP_FILE: join(sandbox.directory, 'clock') }
      return { ...node, env: { ...env, NODE_EXTRA_CA_CERTS: join(sandbox.directory, 'extra.pem') } }
    }
    /** Node reads the CA file. Then the file and the clock change. */
    const body = `const fs = require('node:fs')
      tls.createSecureContext()
      fs.writeFileSync(process.env.NODE_EXTRA_CA_CERTS, input.later)
      fs.writeFileSync(process.env.FAKETIME_TIMESTAMP_FILE, '+1h')
      report(await attempt(input.target))`

    it('a CA file that replaced the one that Node has read is not trusted', () =>
      inSandbox(async (sandbox) => {
        sandbox.write('extra.pem', given.root.cert)
        await accepts(sandbox, ONE, given.target, {
          ...node,
          env: { NODE_EXTRA_CA_CERTS: join(sandbox.directory, 'extra.pem') },
        })
        for (const preload of [false, true]) {
          sandbox.write('extra.pem', given.otherRoot.cert)
          const ways = { ...stepped(sandbox), preload }
          const { seen, reused } = await run<Attempt>(
            sandbox,
            body,
            { target: given.target, later: given.root.cert },
            ways,
          )
          expect([seen.error, reused ?? false]).toEqual(['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', false])
        }
      }))

    it('a session is not stored under a CA file that replaced the one that Node has read', () =>
      inSandbox(async (sandbox) => {
        sandbox.write('extra.pem', given.root.cert)
        await accepts(sandbox, body, { target: given.target, later: given.otherRoot.cert }, stepped(sandbox))
        const path = sandbox.write('other.pem', given.otherRoot.cert)
        // With the same clock, since a ticket from the future is not offered.
        const env = { ...clockAt('+1h'), NODE_EXTRA_CA_CERTS: path }
        await isRefused(sandbox, ONE, given.target, { ...node, env })
      }))
  })

  describeWith(missingNode(line), `Node ${line}: an array of CAs`, () => {
    it('is read once, so a getter that returns another CA the second time gains nothing', () =>
      inSandbox(async (sandbox) => {
        await accepts(sandbox, ONE, { ...given.target, ca: given.root.cert }, node)
        const body = `let looks = 0
          const ca = Object.defineProperty([], '0', {
            enumerable: true, get: () => (looks++ === 0 ? input.other : input.ca) })
          report(await attempt({ ...input.target, ca }))`
        await isRefused(
          sandbox,
          body,
          { target: given.target, ca: given.root.cert, other: given.otherRoot.cert },
          node,
        )
      }))
  })
}
