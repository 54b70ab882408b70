import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { blocksOf } from '../support/blocks.ts'
import { describeWith, missingCommands, runs } from '../support/missing.ts'
import { ROOT } from '../support/places.ts'
import { masterKey } from '../support/tickets.ts'
import { cleanEnv, scratchDirectory, useInstalled } from './kit.ts'

const missing = [
  missingCommands('dbus-run-session', 'gnome-keyring-daemon', 'secret-tool'),
  runs('dbus-run-session', '--', 'true') ? undefined : 'no bus can be started here',
]

const installed = useInstalled()

/** Runs a shell script on its own bus, with an unlocked and unused keychain. */
function onVirginDesktop(script: string, extra: NodeJS.ProcessEnv = {}) {
  const home = scratchDirectory()
  const runtime = join(home, 'run')
  mkdirSync(runtime, { mode: 0o700 })
  const env = cleanEnv({
    HOME: home,
    XDG_RUNTIME_DIR: runtime,
    TICKETKEEP_DIR: join(home, 'tickets'),
    TICKETKEEP_KEY_SOURCE: 'keychain',
    NODE: process.execPath,
    CLI: installed.cli,
    ...extra,
  })
  const unlock = 'printf x | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1'
  const functions =
    'tk() { "$NODE" "$CLI" "$@"; }; search() { secret-tool search --all service ticketkeep 2>&1; }'
  const result = spawnSync('dbus-run-session', ['--', 'sh', '-c', `${unlock}; ${functions}; ${script}`], {
    env,
    encoding: 'utf8',
  })
  // The bus prints a remark if it may not raise its limits.
  const stderr = result.stderr.replace(/^dbus-daemon\[.*\n/gm, '')
  return { ...result, stderr, home }
}

describeWith(missing, 'with a real keychain', () => {
  it('status makes no key, rotate-key makes one and then another, and purge removes it', () => {
    const script = `
      tk status --json | grep -e creatable -e available; search | grep -c '^\\['
      tk rotate-key; search | grep -c '^\\['; tk status --json | grep available
      tk rotate-key --json
      tk purge; search | grep -c '^\\['
      tk purge --json`
    const { stdout, stderr } = onVirginDesktop(script)
    expect(stderr).toBe('')
    expect(stdout.split('\n').map((line) => line.trim())).toEqual(
      expect.arrayContaining(['"available": false,', '"creatable": true,', '0', '1', '"available": true,']),
    )
    expect(stdout).toMatch(/There was no key; made one/)
    for (const { text } of blocksOf('test/cli/keychain.test.ts'))
      expect(stdout).toContain(JSON.stringify(JSON.parse(text), null, 2))
    expect(stdout).toMatch(/^Removed the key from the keychain\.\n0$/m)
    expect(stdout).toContain('"state": "absent"')
  })

  it('doctor accepts a keychain without a key, and makes none', () => {
    const { stdout, status } = onVirginDesktop('tk doctor; echo $?; search | grep -c "^\\["', {
      TICKETKEEP_KEY_SOURCE: undefined,
    })
    expect(stdout).toMatch(/^tickets kept +yes$/m)
    expect(stdout).toMatch(/^-> {2}keychain +yes /m)
    expect(stdout).toMatch(/\n0\n0\n$/)
    expect(status).toBe(1) // grep's: no line
  })

  it('init makes the key once and says where it is', () => {
    const script = `tk init | head -1; search | grep -c '^\\['; tk init | head -1; tk init --json; search | grep -c '^\\['`
    const { stdout, stderr, status } = onVirginDesktop(script, { TICKETKEEP_KEY_SOURCE: undefined })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const json = /^\{.*^\}/ms.exec(stdout)?.[0] ?? ''
    expect(JSON.parse(json)).toMatchObject({
      source: 'keychain',
      created: false,
      reason: 'the Secret Service',
    })
    expect(stdout.replace(json, '…')).toBe(
      'Made a key (keychain: the Secret Service).\n1\nThere is a key (keychain: the Secret Service).\n…\n1\n',
    )
  })

  it('env makes the key the first time, so that the first program finds it', () => {
    const wait = 'for i in $(seq 100); do search | grep -q "^\\[" && break; sleep 0.1; done'
    const script = `eval "$(tk env)"; unset NODE_OPTIONS; ${wait}; search | grep -c '^\\['; tk init | head -1`
    const { stdout, stderr } = onVirginDesktop(script, { TICKETKEEP_KEY_SOURCE: undefined })
    expect({ stdout, stderr }).toEqual({
      stdout: '1\nThere is a key (keychain: the Secret Service).\n',
      stderr: '',
    })
  })

  it('the commands of the notes show the entry of the key without the key', () => {
    const notes = readFileSync(join(ROOT, 'native-notes/linux.md'), 'utf8')
    const [, section = ''] = notes.split('**See it, remove it.**')
    const commands = section.split(/\n {4}(?=\S)/).filter((text) => text.startsWith('dbus-send'))
    const [search, show] = commands.map((text) => text.replaceAll('\\\n', ''))
    const script = `tk init >/dev/null
      ITEM=$(${search} | sed -n 's/.*object path "\\(.*\\)".*/\\1/p'); ${show}; ${search}`
    const { stdout, stderr } = onVirginDesktop(script)
    expect(stderr).toBe('')
    expect(stdout).toMatch(/ticketkeep: key of the TLS session tickets/)
    expect(stdout).toMatch(/string "service"\s.*string "ticketkeep"/s)
    // The content of the item begins with these words in the output of `secret-tool search`.
    expect(stdout).not.toContain('ticketkeep key')
    expect(stdout).not.toMatch(/array of bytes|byte \d/)
  })

  it('init makes no key if a source is set, and fails if that source fails', () => {
    const set = (key: string) => ({ TICKETKEEP_KEY_SOURCE: undefined, TICKETKEEP_KEY: key })
    const good = onVirginDesktop(
      'tk init | head -1; search | grep -c "^\\["',
      set(Buffer.from(masterKey(1)).toString('base64')),
    )
    expect(good.stdout).toBe('There is a key (variable: TICKETKEEP_KEY is set).\n0\n')
    const bad = onVirginDesktop('tk init; echo $?; search | grep -c "^\\["', set('swordfish'))
    expect(bad.stdout).toBe('1\n0\n')
    expect(bad.stderr).toMatch(
      /^ticketkeep: there is no key \(variable: TICKETKEEP_KEY is not a key: .*\); "ticketkeep doctor"/,
    )
    expect(bad.stderr).not.toContain('swordfish')
  })

  it('purge fails if the keychain is locked, and the key stays', () => {
    const lock = `dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
      org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/aliases/default >/dev/null`
    const extra = { TICKETKEEP_KEY_SOURCE: undefined }
    const { stdout } = onVirginDesktop(`tk init >/dev/null; ${lock}; tk purge; echo $?; search`, extra)
    expect(stdout).toMatch(
      /key in it, if there is one, is still there: the Secret Service is locked\.\n(.*\n)?1\n/,
    )
    expect(stdout).toContain('ticketkeep: key of the TLS session tickets')
  })

  it('doctor says that the key may come too late', () => {
    const { stdout } = onVirginDesktop('tk init >/dev/null; tk doctor', { TICKETKEEP_KEY_SOURCE: undefined })
    expect(stdout).toMatch(/Advice:\n\n {2}keychain .*ticketkeep init --key-file$/m)
  })

  it('purge --keep-key keeps the key', () => {
    const { stdout, status } = onVirginDesktop(
      `tk rotate-key >/dev/null; tk purge --keep-key; search | grep -c '^\\['`,
    )
    expect(stdout).toMatch(/^Removed 0 files of tickets from .*\n1\n$/)
    expect(status).toBe(0)
  })

  it('a key that the user has set is neither rotated nor removed', () => {
    const key = Buffer.from(masterKey(1)).toString('base64')
    const extra = { TICKETKEEP_KEY_SOURCE: 'variable', TICKETKEEP_KEY: key }
    const { stdout, stderr, home } = onVirginDesktop('tk rotate-key; echo $?; tk purge; echo $?', extra)
    expect(stderr).toMatch(
      /^ticketkeep: the key comes from the source "variable" .*, which is yours to change\n$/,
    )
    expect(stdout).toMatch(/^1\nRemoved 0 files of tickets from .*\n0\n$/)
    expect(stderr + stdout).not.toContain(key)
    expect(readdirSync(home)).not.toContain('tickets')
  })
})
