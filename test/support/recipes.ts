import { parse } from 'yaml'

/** What a build system gives to one shell, and puts into its environment. */
export interface Step {
  readonly script: string
  readonly env: Readonly<Record<string, string>>
}

interface Container {
  readonly command: readonly string[]
  readonly env: readonly { readonly name: string; readonly value: string }[]
}

type Steps = readonly { readonly run?: string; readonly env?: Record<string, string> }[]

interface GitLabJob {
  readonly variables?: Record<string, string>
  readonly before_script?: readonly string[]
  readonly script: readonly string[]
  readonly after_script?: readonly string[]
}

/** The steps of a recipe in YAML: of GitHub Actions, GitLab CI or Kubernetes, or the part that a page shows of it. */
export function stepsOf(yaml: string): Step[] {
  const recipe = parse(yaml)
  const containers: readonly Container[] | undefined = recipe.spec?.containers ?? recipe.containers
  if (containers) return containers.map(ofContainer)
  if (Array.isArray(recipe)) return ofGitHub(recipe)
  if (recipe.jobs) return Object.values<{ steps: Steps }>(recipe.jobs).flatMap(({ steps }) => ofGitHub(steps))
  return Object.values<GitLabJob>(recipe).flatMap(ofGitLab)
}

const ofGitHub = (steps: Steps): Step[] =>
  steps.flatMap(({ run, env = {} }) => (run === undefined ? [] : [{ script: run, env }]))

/** GitLab runs the two scripts in one shell, and `after_script` in another. */
const ofGitLab = ({ variables: env = {}, before_script = [], script, after_script }: GitLabJob): Step[] =>
  [[...before_script, ...script], after_script ?? []]
    .filter((lines) => lines.length > 0)
    .map((lines) => ({ script: lines.join('\n'), env }))

const ofContainer = ({ command, env }: Container): Step => ({
  script: command.map((word) => `'${word}'`).join(' '),
  env: Object.fromEntries(env.map(({ name, value }) => [name, value])),
})
