import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { whyProcessIsLeftAlone } from '../../src/tls/process-admission.ts'
import { readProcessStart, VARIABLES } from '../../src/tls/process-start.ts'
import { useBundle } from '../support/children.ts'
import { scratch } from '../support/directories.ts'
import { describeWith, missingNode } from '../support/missing.ts'
import { NODE_LINES, nodeBinary } from '../support/pinned.ts'
import { askNode, runInNode } from '../support/real-nodes.ts'

/** Why a process with these flags and variables is left alone. */
const why = (execArgv: readonly string[], env: Record<string, string> = {}) =>
  whyProcessIsLeftAlone({ execArgv, env, release: '', worker: undefined })
/** Why a worker thread of such a process is left alone. */
const whyInWorker = (
  commandLine: readonly string[] | undefined,
  nodeOptions?: string,
  execArgv: string[] = [],
) => whyProcessIsLeftAlone({ execArgv, env: {}, release: '', worker: { commandLine, nodeOptions } })
const whyOptions = (NODE_OPTIONS: string) => why([], { NODE_OPTIONS })

describe('a worker thread', () => {
  const UNKNOWN = 'worker thread: the flags of its process are not known'

  it.each([
    [['main.js']],
    [['main.js', '--use-openssl-ca']],
    [['--require', 'a.cjs', '--no-warnings', '--max-old-space-size=9', 'main.js', '-x']],
  ])('of a process %j is attended', (commandLine) => {
    expect(whyInWorker(commandLine)).toBeUndefined()
  })

  it.each([
    [['--use-openssl-ca', 'main.js']],
    [['--title', 'x', '--use-openssl-ca', 'main.js']],
    [['--no-warnings', '--', 'main.js']],
    [['-p', '1']],
    [['-e', '1', '--use-openssl-ca']],
    [['-']],
    [[]],
    [['', '', '']], // after a process.title
    [['--no-warnings', '']],
  ])('of a process %j is left alone', (commandLine) => {
    expect(whyInWorker(commandLine)).toBe(UNKNOWN)
  })

  it('is left alone for a flag of its process, of its own or in its NODE_OPTIONS', () => {
    expect(whyInWorker(['--use-openssl-ca=', 'main.js'])).toContain('--use-openssl-ca')
    expect(whyInWorker(['--require', 'a', '--openssl-config=x', 'main.js'])).toContain('--openssl-config')
    expect(whyInWorker(['main.js'], '--insecure')).toContain('--insecure')
    expect(whyInWorker(['main.js'], undefined, ['--insecure'])).toContain('--insecure')
    expect(whyInWorker(['main.js'], '"')).toBe('NODE_OPTIONS is malformed')
  })

  it('is left alone if the system does not show the command line of the process', () => {
    expect(whyInWorker(undefined)).toBe('worker thread: the flags of its process are not available here')
  })
})

describe('a process', () => {
  it('is attended without flags', () => {
    expect(why([])).toBeUndefined()
    expect(whyOptions('')).toBeUndefined()
  })

  it.each([
    [['--no-warnings']],
    [['--no_warnings']],
    [['--no-addons', '--no_experimental_require_module']],
    [['--max-old-space-size=300']],
    [['--max_old_space_size=300']],
    [['--max-semi-space-size', '16']],
    [['--require', './a.cjs', '-r', 'b', '--import=c']],
    [['--inspect', '--inspect-brk=9229', '--inspect_port=0']],
    [['-e', 'console.log(1)']],
    [['-pe', '1']],
    [['--experimental-strip-types', '--experimental-transform-types']],
    [['--test', '--test-name-pattern', 'x', '--experimental-test-coverage']],
    [['--tls-min-v1.3', '--tls-max-v1.2', '--tls-cipher-list=HIGH', '--tls-keylog=x']],
    [['--use-system-ca', '--no-use-bundled-ca']],
    [['--secure-heap=0', '--secure-heap-min=2', '--use-largepages=off', '--node-snapshot']],
    [['--trace-deprecation', '--trace-tls', '--unhandled-rejections=strict']],
  ])('is attended with the flags %j', (flags) => {
    expect(why(flags)).toBeUndefined()
    expect(whyOptions(flags.join(' '))).toBeUndefined()
  })

  it.each([
    [['--openssl-config=/etc/x.cnf'], '--openssl-config'],
    [['--openssl_config=/etc/x.cnf'], '--openssl-config'],
    [['--openssl-config', '/etc/x.cnf'], '--openssl-config'],
    [['--no-warnings', '--openssl-shared-config'], '--openssl-shared-config'],
    [['--openssl-legacy-provider'], '--openssl-legacy-provider'],
    [['--use-openssl-ca'], '--use-openssl-ca'],
    [['--no-use-openssl-ca'], '--no-use-openssl-ca'],
    [['--enable-fips'], '--enable-fips'],
    [['--force_fips'], '--force-fips'],
    [['--secure-heap=4096'], '--secure-heap'],
    [['--secure-heap=0', '--secure-heap-min=4'], '--secure-heap-min'],
    [['--secure-heap'], '--secure-heap'],
    [['--env-file=.env'], '--env-file'],
    [['--experimental-config-file=x.json'], '--experimental-config-file'],
    [['--snapshot-blob', 'x'], '--snapshot-blob'],
    [['--some-flag-of-the-future'], '--some-flag-of-the-future'],
    [['-x'], '-x'],
    [['--Openssl-config=x'], '--Openssl-config'],
    [['--max-heap'], '--max-heap'],
    [['--warnings2'], '--warnings2'],
    [['--'], '--'],
  ])('is left alone with the flags %j', (flags, named) => {
    for (const reason of [why(flags), whyOptions(flags.join(' '))]) {
      expect(reason?.replaceAll('_', '-')).toBe(`the flag ${flagOf(flags, named)} may decide trust`)
    }
  })

  /** The flag as it was written. */
  const flagOf = (flags: readonly string[], named: string) =>
    flags
      .find((flag) => flag.replaceAll('_', '-').startsWith(named))
      ?.replaceAll('_', '-')
      .split('=')[0]

  it('has quoted flags of NODE_OPTIONS read as Node reads them', () => {
    expect(whyOptions('--require "/a b/c.cjs" --no-warnings')).toBeUndefined()
    expect(whyOptions('"--openssl-config=/a b/c.cnf"')).toContain('--openssl-config')
    expect(whyOptions('--no-warnings --openssl-config="/a b/c.cnf"')).toContain('--openssl-config')
    expect(whyOptions('--open"ssl-con"fig=x')).toContain('--openssl-config')
    expect(whyOptions('"--open\\ssl-config=x"')).toContain('--openssl-config')
    expect(whyOptions('--title="--use-openssl-ca x"')).toBeUndefined()
    expect(whyOptions('--require "x')).toBe('NODE_OPTIONS is malformed')
  })
})

it('the flags are known if the program is among the words of the command line', () => {
  const late = (commandLine: string[]) =>
    whyProcessIsLeftAlone({ execArgv: [], env: {}, release: '', worker: undefined, commandLine })
  expect(late(['--no-warnings', '-e', '1', 'word'])).toBeUndefined()
  expect(late(['--use-openssl-ca', '-e', '1'])).toBe('the flags of the process are not known')
  expect(late(['--openssl-config=x', '-e', '1'])).toContain('--openssl-config')
})

describe('the environment', () => {
  const OPENSSL = VARIABLES.filter((name) => name.startsWith('OPENSSL_'))

  it.each(OPENSSL)('makes a process left alone if it has %s, even an empty one', (name) => {
    expect(why([], { [name]: '/x' })).toBe(`${name} is set`)
    expect(why([], { [name]: '' })).toBe(`${name} is set`)
  })

  it('is noted as it was at the start', () => {
    const env = { OPENSSL_CONF: 'x', NODE_EXTRA_CA_CERTS: 'y', PATH: 'z' }
    const start = readProcessStart(env)
    env.OPENSSL_CONF = 'later'
    expect(start.env).toMatchObject({ OPENSSL_CONF: 'x', NODE_EXTRA_CA_CERTS: 'y' })
    expect(start.env).not.toHaveProperty('PATH')
    process.execArgv.push('--later')
    process.execArgv.pop()
    expect(start.execArgv).not.toBe(process.execArgv)
  })

  it('may have NODE_EXTRA_CA_CERTS, since CAs are bound by content', () => {
    expect(why([], { NODE_EXTRA_CA_CERTS: '/x.pem' })).toBeUndefined()
  })
})

describe('a process is left alone if it is', () => {
  const { versions, config } = process
  const set = (name: 'versions' | 'config', value: unknown) =>
    Object.defineProperty(process, name, { value, configurable: true })
  afterEach(() => {
    set('versions', versions)
    set('config', config)
  })

  it.each(['18.20.0', '21.7.3', '23.0.0', '25.1.0', '28.0.0'])('Node %s', (node) => {
    set('versions', { ...versions, node })
    expect(why([])).toBe(`Node ${node.split('.')[0]} is not a release that ticketkeep knows`)
  })

  it('Electron', () => {
    set('versions', { ...versions, electron: '30.0.0' })
    expect(why([])).toContain('Electron')
  })

  it('a Node that uses the OpenSSL of the distribution', () => {
    set('config', { ...config, variables: { ...config.variables, node_shared_openssl: true } })
    expect(why([])).toContain('OpenSSL of its distribution')
  })

  it('a Node that was built to trust an additional file of certificates', () => {
    set('config', { ...config, variables: { ...config.variables, openssl_system_ca_path: '/etc/ca.pem' } })
    expect(why([])).toContain('a CA file')
  })

  it('a Node that was built to trust the certificates of OpenSSL', () => {
    set('config', {
      ...config,
      target_defaults: { ...config.target_defaults, defines: ['NODE_OPENSSL_CERT_STORE'] },
    })
    expect(why([])).toContain('trusts the CA certificates of OpenSSL')
  })
})

const child = useBundle(new URL('./process-admission-child.ts', import.meta.url))

/** Names of flags about TLS, certificates or cryptography. */
const ABOUT_TRUST = /tls|ssl|cert|crypto|fips|secure|-ca$/
const ATTENDED_ABOUT_TRUST =
  /^--(no-)?(tls-(min|max)-v1\.\d|tls-cipher-list|tls-keylog|trace-tls|use-(system|bundled)-ca|insecure-http-parser|allow-openssl-store)$/

for (const line of NODE_LINES) {
  describeWith(missingNode(line), `a process of Node ${line}`, () => {
    const whyIn = async (flags: readonly string[], env: Record<string, string> = {}, ...args: string[]) =>
      JSON.parse(await runInNode(line, child.path, { flags, env, args })) as string | null

    it('is attended with harmless flags', async () => {
      expect(await whyIn([])).toBeNull()
      expect(await whyIn(['--no-warnings', '--max_old_space_size=200', '--require', 'node:fs'])).toBeNull()
      expect(await whyIn([], { NODE_OPTIONS: '--no_warnings --require "node:fs"' })).toBeNull()
      expect(await whyIn(['--tls-max-v1.2'])).toBeNull()
    })

    it('is attended in `node --test`, which passes on all flags', async () => {
      expect(await runInNode(line, child.path, { flags: ['--test'] })).toMatch(/^(# )?null$/m)
    })

    it('is left alone with an OpenSSL configuration, however it is given', async () => {
      const named = expect.stringContaining('may decide trust')
      expect(await whyIn(['--openssl-config=/dev/null'])).toEqual(named)
      expect(await whyIn(['--openssl_config', '/dev/null'])).toEqual(named)
      expect(await whyIn(['--openssl-shared-config'])).toEqual(named)
      expect(await whyIn([], { NODE_OPTIONS: '--openssl-config="/dev/null"' })).toEqual(named)
      expect(await whyIn([], { NODE_OPTIONS: '--open"ssl_conf"ig=/dev/null' })).toEqual(named)
      expect(await whyIn([], { OPENSSL_CONF: '/dev/null' })).toBe('OPENSSL_CONF is set')
    })

    it('is judged by its own flags in a worker, not by those of the worker', async () => {
      const unknown = 'worker thread: the flags of its process are not known'
      expect(await whyIn([], {}, 'in-a-worker')).toBeNull()
      expect(await whyIn(['--no-warnings'], {}, 'in-a-worker')).toBeNull()
      expect(await whyIn(['--openssl-shared-config'], {}, 'in-a-worker')).toBe(unknown)
      expect(await whyIn(['--no-warnings'], { OPENSSL_MODULES: '/x' }, 'in-a-worker')).toBe(
        'OPENSSL_MODULES is set',
      )
      const options = { NODE_OPTIONS: '--openssl-shared-config' }
      expect(await whyIn([], options, 'in-a-worker')).toContain('--openssl-shared-config')
    })

    it.each(['x', 'a title that is longer than all the words of this command line '.repeat(9)])(
      'is left alone in a worker once the title %j has overwritten its flags',
      async (title) => {
        const flags = ['--openssl-shared-config']
        expect(await whyIn(flags, {}, 'in-a-worker', title)).toBe(
          'worker thread: the flags of its process are not known',
        )
      },
    )

    it('is left alone with --env-file, which can set NODE_OPTIONS', async () => {
      const file = `${scratch()}/variables`
      writeFileSync(file, 'NODE_OPTIONS=--no-warnings\n')
      expect(await whyIn([`--env-file=${file}`])).toContain('--env-file')
    })

    it('is attended with no flag about trust but those that the binding covers', async () => {
      const names = JSON.parse(
        await askNode(line, 'console.log(JSON.stringify([...process.allowedNodeEnvironmentFlags]))'),
      ) as string[]
      const help = execFileSync(nodeBinary(line), ['--help'], { encoding: 'utf8' })
      const flags = new Set([...names, ...(help.match(/--[\w.-]+/g) ?? [])])
      expect(flags).toContain('--use-openssl-ca')
      const attended = [...flags].filter((flag) => ABOUT_TRUST.test(flag) && why([flag]) === undefined)
      expect(attended.filter((flag) => !ATTENDED_ABOUT_TRUST.test(flag))).toEqual([])
    })
  })
}
