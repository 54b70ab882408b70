// Prints a CycloneDX SBOM of the package: its dependencies, and the packages bundled in dist.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

const all = JSON.parse(
  execFileSync('npm', ['sbom', '--package-lock-only', '--sbom-format', 'cyclonedx'], {
    encoding: 'utf8',
    maxBuffer: 1e8,
    stdio: ['ignore', 'pipe', 'ignore'],
  }),
)
// The build lists each bundled package by name and version.
const licences = readFileSync('dist/LICENSES-OF-BUNDLED-PACKAGES.txt', 'utf8')
const bundled = new Set(
  [...licences.matchAll(/^(\S+) (\d+\.\d+\.\d+\S*) \(.+\)$/gm)].map(
    ([, name, version]) => `${name}@${version}`,
  ),
)

const isOfDevelopment = ({ properties = [] }) =>
  properties.some(({ name, value }) => name === 'cdx:npm:package:development' && value === 'true')
const components = all.components
  .filter((one) => !isOfDevelopment(one) || bundled.has(one['bom-ref']))
  .map((one) => ({
    ...one,
    properties: one.properties?.filter(({ name }) => !name.endsWith(':development')),
  }))
const refs = new Set([all.metadata.component['bom-ref'], ...components.map((one) => one['bom-ref'])])
const dependencies = all.dependencies
  .filter(({ ref }) => refs.has(ref))
  .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter((one) => refs.has(one)) }))
console.log(JSON.stringify({ ...all, components, dependencies }, null, 2))
