import {
  missingMounts,
  opensslConf,
  securityLevel,
  TOO_HIGH,
  type Way,
  withMachineConfiguration,
} from './way.ts'

// Ways to accept a server and to refuse it by an OpenSSL configuration. Many come in pairs: the same files, with other content.

const LEVEL_1 = opensslConf(securityLevel(1))

export const ACCEPTING_BY_CONFIGURATION: readonly Way[] = [
  { name: '--openssl-config', flags: ['--openssl-config=$RUN/a.cnf'], files: { '$RUN/a.cnf': LEVEL_1 } },
  { name: '--openssl-config, empty', flags: ['--openssl-config=$RUN/a.cnf'], files: { '$RUN/a.cnf': '' } },
  {
    name: '--openssl-config, the file changes',
    flags: ['--openssl-config=$SERVER/switched.cnf'],
    files: { '$SERVER/switched.cnf': LEVEL_1 },
  },
  {
    name: '--openssl-shared-config and OPENSSL_CONF',
    flags: ['--openssl-shared-config'],
    env: { OPENSSL_CONF: '$RUN/a.cnf' },
    files: { '$RUN/a.cnf': opensslConf(securityLevel(1), 'openssl_conf') },
  },
  {
    name: 'OPENSSL_CONF',
    env: { OPENSSL_CONF: '$SERVER/variable.cnf' },
    files: { '$SERVER/variable.cnf': LEVEL_1 },
  },
  {
    name: 'OPENSSL_CONF with what Node does not read',
    env: { OPENSSL_CONF: '$RUN/a.cnf' },
    files: { '$RUN/a.cnf': opensslConf(securityLevel(1), 'openssl_conf') },
  },
  {
    name: 'OPENSSL_CONF that includes another',
    env: { OPENSSL_CONF: '$SERVER/outer.cnf' },
    files: { '$SERVER/outer.cnf': '.include $SERVER/inner.cnf\n', '$SERVER/inner.cnf': LEVEL_1 },
  },
  {
    name: 'OPENSSL_CONF that includes another behind a line continuation',
    env: { OPENSSL_CONF: '$SERVER/outer-hidden.cnf' },
    files: {
      '$SERVER/outer-hidden.cnf': '.inc\\\nlude $SERVER/inner-hidden.cnf\n',
      '$SERVER/inner-hidden.cnf': LEVEL_1,
    },
  },
  {
    name: 'OPENSSL_CONF that asks the environment',
    env: { OPENSSL_CONF: '$SERVER/asks.cnf', LEVEL: '1' },
    files: { '$SERVER/asks.cnf': opensslConf(securityLevel('$ENV::LEVEL')) },
  },
  {
    name: 'OPENSSL_CONF that asks the environment behind a line continuation',
    env: { OPENSSL_CONF: '$SERVER/asks-hidden.cnf', LEVEL: '1' },
    files: { '$SERVER/asks-hidden.cnf': opensslConf(securityLevel('$EN\\\nV::LEVEL')) },
  },
  {
    name: 'NODE_OPTIONS with a quoted --openssl-config',
    env: { NODE_OPTIONS: '--openssl-config="$SERVER/with space.cnf"' },
    files: { '$SERVER/with space.cnf': LEVEL_1, '$SERVER/with': 'x = 1\n' },
  },
  {
    name: 'NODE_OPTIONS with --openssl-config, and another on the command line',
    env: { NODE_OPTIONS: '--openssl-config=$SERVER/first.cnf' },
    flags: ['--openssl-config=$SERVER/second.cnf'],
    files: { '$SERVER/first.cnf': 'x = 1\n', '$SERVER/second.cnf': LEVEL_1 },
  },
  {
    name: 'the machine’s configuration, which includes another',
    needs: missingMounts(),
    prefix: withMachineConfiguration('$SERVER/machine.cnf'),
    files: {
      '$SERVER/machine.cnf': 'nodejs_conf = app\n.include $SERVER/machine-inner.cnf\n',
      '$SERVER/machine-inner.cnf': LEVEL_1.split('\n').slice(1).join('\n'),
    },
  },
  {
    name: 'the machine’s configuration, whose included file has what Node reads',
    needs: missingMounts(),
    prefix: withMachineConfiguration('$SERVER/machine-outer.cnf'),
    files: {
      '$SERVER/machine-outer.cnf': '.include $SERVER/machine-whole.cnf\n',
      '$SERVER/machine-whole.cnf': LEVEL_1,
    },
  },
]

const configuration = (name: string, way: Omit<Way, 'name'>): Way => ({
  name,
  options: '{ ...base, ciphers: undefined }',
  ...way,
})

const REFUSES = opensslConf(TOO_HIGH)

export const REFUSING_BY_CONFIGURATION: readonly Way[] = [
  configuration('--openssl-config at level 4', {
    flags: ['--openssl-config=$RUN/a.cnf'],
    files: { '$RUN/a.cnf': REFUSES },
  }),
  configuration('--openssl-config, the file has changed', {
    flags: ['--openssl-config=$SERVER/switched.cnf'],
    files: { '$SERVER/switched.cnf': REFUSES },
  }),
  configuration('--openssl-config with other signatures', {
    flags: ['--openssl-config=$RUN/a.cnf'],
    files: { '$RUN/a.cnf': opensslConf('SignatureAlgorithms = ed25519') },
  }),
  configuration('--openssl-config with other groups', {
    flags: ['--openssl-config=$RUN/a.cnf'],
    files: { '$RUN/a.cnf': opensslConf('Groups = P-521') },
  }),
  configuration('--openssl-config with MinProtocol', {
    versions: ['TLSv1.2'],
    flags: ['--openssl-config=$RUN/a.cnf'],
    files: { '$RUN/a.cnf': opensslConf('MinProtocol = TLSv1.3') },
  }),
  configuration('--openssl-config with MaxProtocol', {
    versions: ['TLSv1.3'],
    flags: ['--openssl-config=$RUN/a.cnf'],
    files: { '$RUN/a.cnf': opensslConf('MaxProtocol = TLSv1.2') },
  }),
  configuration('--openssl-shared-config and OPENSSL_CONF at level 4', {
    flags: ['--openssl-shared-config'],
    env: { OPENSSL_CONF: '$RUN/a.cnf' },
    files: { '$RUN/a.cnf': opensslConf(TOO_HIGH, 'openssl_conf') },
  }),
  configuration('OPENSSL_CONF, the file has changed', {
    env: { OPENSSL_CONF: '$SERVER/variable.cnf' },
    files: { '$SERVER/variable.cnf': REFUSES },
  }),
  configuration('OPENSSL_CONF, the included file has changed', {
    env: { OPENSSL_CONF: '$SERVER/outer.cnf' },
    files: { '$SERVER/outer.cnf': '.include $SERVER/inner.cnf\n', '$SERVER/inner.cnf': REFUSES },
  }),
  configuration('OPENSSL_CONF, the file included behind a line continuation has changed', {
    env: { OPENSSL_CONF: '$SERVER/outer-hidden.cnf' },
    files: {
      '$SERVER/outer-hidden.cnf': '.inc\\\nlude $SERVER/inner-hidden.cnf\n',
      '$SERVER/inner-hidden.cnf': REFUSES,
    },
  }),
  configuration('OPENSSL_CONF, the environment that it asks says level 4', {
    env: { OPENSSL_CONF: '$SERVER/asks.cnf', LEVEL: '4' },
    files: { '$SERVER/asks.cnf': opensslConf('CipherString = DEFAULT@SECLEVEL=$ENV::LEVEL') },
  }),
  configuration('OPENSSL_CONF, the environment that it asks behind a line continuation says level 4', {
    env: { OPENSSL_CONF: '$SERVER/asks-hidden.cnf', LEVEL: '4' },
    files: { '$SERVER/asks-hidden.cnf': opensslConf('CipherString = DEFAULT@SECLEVEL=$EN\\\nV::LEVEL') },
  }),
  configuration('NODE_OPTIONS with a quoted --openssl-config at level 4', {
    env: { NODE_OPTIONS: '--openssl-config="$SERVER/with space.cnf"' },
    files: { '$SERVER/with space.cnf': REFUSES, '$SERVER/with': 'x = 1\n' },
  }),
  configuration('NODE_OPTIONS with --openssl-config, and another on the command line at level 4', {
    env: { NODE_OPTIONS: '--openssl-config=$SERVER/first.cnf' },
    flags: ['--openssl-config=$SERVER/second.cnf'],
    files: { '$SERVER/first.cnf': 'x = 1\n', '$SERVER/second.cnf': REFUSES },
  }),
  configuration('the machine’s configuration, its included file has changed', {
    needs: missingMounts(),
    prefix: withMachineConfiguration('$SERVER/machine.cnf'),
    files: {
      '$SERVER/machine.cnf': 'nodejs_conf = app\n.include $SERVER/machine-inner.cnf\n',
      '$SERVER/machine-inner.cnf': REFUSES.split('\n').slice(1).join('\n'),
    },
  }),
  configuration('the machine’s configuration, its included file with what Node reads has changed', {
    needs: missingMounts(),
    prefix: withMachineConfiguration('$SERVER/machine-outer.cnf'),
    files: {
      '$SERVER/machine-outer.cnf': '.include $SERVER/machine-whole.cnf\n',
      '$SERVER/machine-whole.cnf': REFUSES,
    },
  }),
]
