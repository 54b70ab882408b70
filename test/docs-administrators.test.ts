import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { blocksOf } from './support/blocks.ts'
import { pathWithCommands } from './support/commands.ts'
import { describeWith, type Missing } from './support/missing.ts'
import { createAuthority } from './support/pki.ts'
import { ROOT } from './support/places.ts'
import { missingPolicies, withPolicyFolder } from './support/policies.ts'
import { createSandbox, runCommand, type Sandbox } from './support/run-program.ts'
import { expectShape } from './support/shape.ts'
import { startTlsServer, type TlsServer } from './support/tls-server.ts'
import { type EveryonesPackage, missingUsers, packageForEveryone } from './support/users.ts'

// What docs/administrators.md tells root to type, in one shell from top to bottom. `/etc`, `/var/log` and `/var/lib` are the
// shell's own, and so is Ann.

const blocks = blocksOf('test/docs-administrators.test.ts')
const [policy, record] = blocks.filter(({ language }) => language === 'json').map(({ text }) => text)
const scripts = blocks.filter(({ language }) => language === 'sh')
const under = (heading: string) => scripts.find((block) => block.heading === heading)!.text

const MACHINE = [
  'rmdir /etc/ticketkeep',
  'mount -t tmpfs tmpfs /var/log',
  'mount -t tmpfs tmpfs /var/lib',
  'mkdir /var/lib/node_exporter',
  'echo ann:x:54321:54321::/mnt/ann:/bin/sh >>/etc/passwd',
  'echo ann:x:54321: >>/etc/group',
  'install -d -o ann -g ann /mnt/ann',
  'chmod 755 /mnt',
]

it('each block is for one of these tests', () =>
  expect(blocks.map(({ language }) => language)).toEqual([
    'sh',
    'sh',
    'json',
    'sh',
    'sh',
    'json',
    'sh',
    'sh',
  ]))

describeWith([missingPolicies(), missingUsers(), missingAppendOnly()], 'docs/administrators.md', () => {
  let server: TlsServer
  let sandbox: Sandbox
  let pack: EveryonesPackage
  let authority: string
  beforeAll(async () => {
    const { cert, issue } = await createAuthority()
    authority = cert
    server = await startTlsServer({ ...(await issue({ names: ['localhost'] })), version: 'TLSv1.2' })
    sandbox = createSandbox()
    pack = packageForEveryone()
  })
  afterAll(async () => {
    await server?.close()
    sandbox?.remove()
    pack?.remove()
  })

  it('is all that has to be typed', async () => {
    expect(scripts.map(({ heading }) => heading)).toEqual([
      'Switch it on for everybody',
      'Switch it on for everybody',
      'The policy',
      'What users have',
      'Audit',
      'Figures',
    ])
    const empty = join(sandbox.directory, 'empty')
    mkdirSync(empty)
    chmodSync(empty, 0o755)
    sandbox.write('draft.json', policy!)
    const show = (path: string) => `echo; echo "== ${path}"; cat ${path}`
    const [setUp = '', profile = ''] = scripts.map(({ text }) => text)
    const script = [
      // In shells of their own: this one is root's, who goes on without it.
      `(${setUp})`,
      `(${profile.trim()}; echo; echo "== NODE_OPTIONS"; echo "$NODE_OPTIONS"; echo)`,
      under('The policy'),
      show('/etc/ticketkeep/policy.json'),
      under('What users have'),
      under('Audit'),
      `echo '{"audit":true,"metrics":true}' >/etc/ticketkeep/policy.json`,
      'ticketkeep run -- visit >/dev/null',
      show('/var/log/ticketkeep/audit.jsonl'),
      'lsattr /var/log/ticketkeep/audit.jsonl',
      under('Figures'),
      show('/var/lib/node_exporter/ticketkeep.prom'),
    ].join('\n')
    const ticketkeep = `exec "${pack.node(process.execPath)}" "${pack.cli}" "$@"`
    const env = {
      PATH: pathWithCommands(sandbox, `https://localhost:${server.port}/`, { sudo: 'exec "$@"', ticketkeep }),
      NODE_EXTRA_CA_CERTS: sandbox.write('ca.pem', authority),
      TICKETKEEP_KEY: undefined,
      TICKETKEEP_DIR: undefined,
      XDG_CONFIG_HOME: undefined, // root's files go into /etc
    }
    const { status, stdout, stderr } = await runCommand(
      { sandbox, preload: false, env, prefix: withPolicyFolder(empty, ...MACHINE) },
      ['bash', '-euo', 'pipefail', '-c', script],
    )
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const shown = (path: string) => stdout.split(`\n== ${path}\n`)[1]?.split('\n\n')[0] ?? ''
    expect(shown('NODE_OPTIONS')).toContain('--require=/etc/ticketkeep/loader.cjs')
    expect(stdout).toContain('draft.json is right.')
    expect(stdout).toContain('/etc/ticketkeep/policy.json is right.')
    expect(shown('/etc/ticketkeep/policy.json')).toContain(policy!.trim())
    expect(stdout).toContain('Removed 0 files of tickets from /mnt/ann/.cache/ticketkeep/tls-tickets.')
    const records = shown('/var/log/ticketkeep/audit.jsonl')
      .split('\n')
      .filter((line) => line.startsWith('{'))
    expect(records.length).toBeGreaterThan(1)
    for (const one of records) expectShape(JSON.parse(one), JSON.parse(record!), 'record')
    expect(stdout).toMatch(/^-+a-+ \/var\/log\/ticketkeep\/audit.jsonl$/m)
    expect(
      [...new Set(namesIn(shown('/var/lib/node_exporter/ticketkeep.prom'), /^# TYPE (\w+)/gm))].sort(),
    ).toEqual(
      namesIn(readFileSync(join(ROOT, 'docs/administrators.md'), 'utf8'), /^\| `(ticketkeep_\w+)/gm).sort(),
    )
  })
})

const namesIn = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name)

/** Whether a file can be made one to which is only appended, on a file system in memory. */
function missingAppendOnly(): Missing {
  const script = 'mount -t tmpfs tmpfs /mnt; touch /mnt/a; chattr +a /mnt/a; lsattr /mnt/a'
  const { status } = spawnSync('unshare', ['--mount', 'sh', '-ec', script])
  return status === 0 ? undefined : 'chattr +a does not work on tmpfs here'
}
