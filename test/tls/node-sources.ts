import ts from 'typescript'
import type { NodeLine } from '../support/pinned.ts'
import { askNode } from '../support/real-nodes.ts'

/** The files with the functions that `admission.ts` names. Before Node 26 some functions are in the second file of a pair. */
const FILES = [
  ...['internal/tls/wrap', '_tls_wrap', 'internal/tls/common', '_tls_common', 'internal/tls/secure-context'],
]

/** The names of the options that a function of Node's TLS reads of its variable `options`. */
export async function optionsReadByNode(line: NodeLine, functionName: string): Promise<string[]> {
  const names = (await sourcesOf(line)).flatMap((source) =>
    functionsNamed(functionName, source).flatMap(optionsReadIn),
  )
  return [...new Set(names)]
}

const sources = new Map<NodeLine, ts.SourceFile[]>()

async function sourcesOf(line: NodeLine): Promise<ts.SourceFile[]> {
  const known = sources.get(line)
  if (known) return known
  const print = `const natives = process.binding('natives')
    process.stdout.write(JSON.stringify(${JSON.stringify(FILES)}.map((name) => natives[name] ?? '')))`
  const texts = JSON.parse(await askNode(line, print)) as string[]
  const parsed = texts.map((text, i) => ts.createSourceFile(`${FILES[i]}.js`, text, ts.ScriptTarget.Latest))
  sources.set(line, parsed)
  return parsed
}

/** Both `function name() {}` and `exports.name = function name() {}`. */
function functionsNamed(name: string, within: ts.Node): ts.Node[] {
  const isIt = (node: ts.Node) =>
    (ts.isFunctionDeclaration(node) || ts.isFunctionExpression(node)) && node.name?.text === name
  return all(within).filter(isIt)
}

/** Of `options.name`, `options?.name` and `const { name } = options`. */
function optionsReadIn(within: ts.Node): string[] {
  return all(within).flatMap((node) => {
    if (ts.isPropertyAccessExpression(node) && isOptions(node.expression)) return [node.name.text]
    if (ts.isElementAccessExpression(node) && isOptions(node.expression)) return ['(computed)']
    if (!ts.isVariableDeclaration(node) || !isOptions(node.initializer)) return []
    if (!ts.isObjectBindingPattern(node.name)) return ['(all)']
    return node.name.elements.map((element) => {
      const name = element.propertyName ?? element.name
      return !element.dotDotDotToken && ts.isIdentifier(name) ? name.text : '(all)'
    })
  })
}

const isOptions = (node: ts.Node | undefined) =>
  node !== undefined && ts.isIdentifier(node) && node.text === 'options'

function all(node: ts.Node): ts.Node[] {
  const found = [node]
  ts.forEachChild(node, (child) => void found.push(...all(child)))
  return found
}
