import { clientScript } from '../../support/pinned.ts'
import { ROOT_PACKAGE } from '../../support/registry.ts'
import { ALL_ROUTES, type Client, inLibraries, type Place } from '../client.ts'

export const registryFiles = ({ url, proxy }: Place) => ({
  'package.json': '{"name":"project","version":"1.0.0","private":true}',
  '.npmrc': `registry=${new URL(url).origin}/\n${proxy ? `https-proxy=${proxy}\n` : ''}`,
})

export const PACKAGE_MANAGERS: Client[] = [
  {
    name: 'npm',
    speaks: 'registry',
    routes: ALL_ROUTES,
    package: { name: 'npm', set: 'clients' },
    files: registryFiles,
    command: ({ node }) => [node, clientScript('npm/bin/npm-cli.js'), 'install', '--no-audit', ROOT_PACKAGE],
  },
  {
    name: 'npx',
    speaks: 'registry',
    routes: ['direct', 'connect'],
    package: { name: 'npm', set: 'clients' },
    files: registryFiles,
    command: ({ node }) => [
      ...[node, clientScript('npm/bin/npx-cli.js'), '--yes', '-p', ROOT_PACKAGE],
      ...['-c', 'echo hello'],
    ],
  },
  {
    name: 'pnpm 10',
    speaks: 'registry',
    routes: ALL_ROUTES,
    package: { name: 'pnpm', set: 'clients' },
    files: registryFiles,
    output: /dependencies:\n.*?1\.0\.0/s,
    command: ({ node }) => [node, clientScript('pnpm/bin/pnpm.cjs'), 'add', ROOT_PACKAGE],
  },
  {
    name: 'yarn 1',
    speaks: 'registry',
    routes: ALL_ROUTES,
    package: { name: 'yarn', set: 'clients' },
    files: registryFiles,
    command: ({ node }) => [
      ...[node, clientScript('yarn/bin/yarn.js'), 'add', ROOT_PACKAGE, '--non-interactive', '--no-progress'],
    ],
  },
  {
    name: 'yarn berry',
    speaks: 'registry',
    routes: ALL_ROUTES,
    package: { name: '@yarnpkg/cli-dist', set: 'libraries' },
    files: (place) => ({
      ...registryFiles(place),
      'yarn.lock': '',
      '.yarnrc.yml': [
        `npmRegistryServer: "${new URL(place.url).origin}"`,
        ...(place.proxy ? [`httpsProxy: "${place.proxy}"`] : []),
        ...['enableTelemetry: false', 'nodeLinker: node-modules', 'enableGlobalCache: false'],
        ...['npmMinimalAgeGate: 0', 'enableProgressBars: false', 'enableTimers: false', ''],
      ].join('\n'),
    }),
    env: { CI: '' },
    command: ({ node }) => [node, inLibraries('@yarnpkg/cli-dist/bin/yarn.js'), 'add', ROOT_PACKAGE],
  },
]
