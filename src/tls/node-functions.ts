import { hash } from 'node:crypto'

/**
 * SHA-256, in base64url, of the source text of the `node:tls` functions that decide trust, and the releases that
 * contain each text. All releases of Node 20, 22, 24 and 26 from 20.19.0 to 26.10.0 were checked. A function with any
 * other text is not known to be Node's own: it was patched by the program, or comes from a release that nobody has
 * reviewed yet.
 */
const KNOWN = {
  checkServerIdentity: [
    'pnEmAeOsJFS1iFUF0kRzQ3TGSPgNwharyeGzpabMkzU', // 24.20.0 to 24.21.0, 26.6.0 to 26.10.0
    'LNYD1tVobzC3fR9Fs3VrAvgiH7RZmzsyLbzI-oyJK2M', // 22.23.0 to 22.23.3, 24.17.0 to 24.19.0, 26.3.1 to 26.5.1
    'vl9iEF6VC-uz7sEZal0WajxaMj_8T6NdVJtp79gLPks', // 20.19.0 to 20.20.2, 22.6.0 to 22.22.3, 24.0.0 to 24.16.0, 26.0.0 to 26.3.0
    '1qD4eMkyUeixq09RFtJ0gBvOKyBSPd7FV5vxx7onxiA', // 22.3.0 to 22.4.0
  ],
  // For `connect`, the first and the last release of each range were checked, and some in between.
  connect: [
    '0piAeghcz4yIAVTGDiXHQ0zvhUFCDYU4asJ7Z2KunZk', // 26.3.1 to 26.10.0
    'KeKZLpT6q44w_ha1JFGlj6bzznzsYosNftWKpgDVHLU', // 26.0.0
    '9cmUzW_RVfxMrwCe4iWQLNZo6JuLAV2ntY8mGMFWRpA', // 24.17.0 to 24.21.0
    '4K9GPGI9GXF6q5mNP_rA7N8Em676H9QIT537jisxYXM', // 24.16.0
    'C5st_dYivlmMNb08IpaalhZzvFNwVv-6L39gREyt9ng', // 22.23.0 to 22.23.3
    'K6x9SpUErYF-ZXMeEfUMfGoKnCE41M5iX-aSLb1EyyQ', // 22.12.0 to 22.22.3, 24.0.0 to 24.13.0
    'NaZD_b0XMjbecqpRNUWrXixqmuKzIp9AxuDHsJgW_0I', // 20.19.0 to 20.20.2
  ],
  // A method of `https.Agent.prototype`.
  createConnection: [
    'XjqubhF3_ksJ3d3yn-eSnf7lmgM3GrMd88tS2CqbgxE', // 22.23.2 to 22.23.3, 24.18.1 to 24.21.0, 26.5.1 to 26.12.1
    '2jjEUgT2xmVZva3Sr0CfgHZF2Eb8gnEbFGXZ_kH9X-c', // 22.21.0 to 22.23.1, 24.5.0 to 24.18.0, 26.0.0 to 26.5.0
    'r_XowJCPfLTKuY7UMrL8m5Z65sdqkLpP4SPuM-ezIfY', // 20.19.0 to 20.20.2, 22.12.0 to 22.19.0, 24.0.0 to 24.4.1
  ],
  createSecureContext: [
    'HnRlY0WvaEnEaQ-PHt4h51IAd-s6a1W7KlIl44fkj_E', // 26.10.0
    'fgKoHvG1wJpV3460zRinsKn4cqn5jLTL39jkDeccdLI', // 22.12.0 to 22.23.3, 24.0.0 to 24.21.0, 26.0.0 to 26.9.0
    'brTaVhJXl7aTW12WkwRHajY5TFDkKw0Xbg3BODrAww0', // 20.19.0 to 20.20.2, 22.3.0 to 22.11.0
  ],
  getCACertificates: [
    'Nyot9b8rZHS6sdWErhgT_J872Qgl2PzyNQTvQ_L-E9c', // 22.15.0 to 22.23.3, 24.0.0 to 24.21.0, 26.0.0 to 26.10.0
  ],
  getPeerCertificate: [
    '-7pIozWnOMgEyUixheX4SP0sEqxKRpcjKuHbmEcufaA', // 20.19.0 to 20.20.2, 22.3.0 to 22.23.3, 24.0.0 to 24.21.0, 26.0.0 to 26.10.0
  ],
  isSessionReused: [
    'etBGCMu93qx6qEu1Y-hCh1kUNVfR8C8s6tdhWrRY28Q', // 20.19.0 to 20.20.2, 22.3.0 to 22.23.3, 24.0.0 to 24.21.0, 26.0.0 to 26.10.0
  ],
  // For the next two, the first and the last release of each range were checked.
  getSession: [
    'hsh47Q_tXnbqCe25NO5AL_SqlWRRcRQru6yKrD7HUIk', // 22.23.0 to 22.23.3, 24.17.0 to 24.21.0, 26.3.1 to 26.10.0
    'etBGCMu93qx6qEu1Y-hCh1kUNVfR8C8s6tdhWrRY28Q', // 20.19.0 to 20.20.2, 22.15.0 to 22.22.3, 24.0.0 to 24.16.0, 26.0.0
  ],
  setServername: [
    'IfRK7_J6HYf0DaXBAuy9TN5D3vrBGt-rcOpoYDmJn8o', // 20.19.0 to 20.20.2, 22.15.0 to 22.23.3, 24.0.0 to 24.21.0, 26.0.0 to 26.10.0
  ],
} as const

export type NodeFunction = keyof typeof KNOWN

/** The digests of functions that were checked before. */
const digests = new WeakMap<object, string>()

/**
 * Whether a function is Node's own, judged by its full source text.
 *
 * @param textOf `Function.prototype.toString` as it was before the program could replace it, as tracing libraries do
 */
export function isNodesOwn(name: NodeFunction, value: unknown, textOf: (f: object) => string): boolean {
  if (typeof value !== 'function') return false
  let digest = digests.get(value)
  if (digest === undefined) {
    // Builds for Windows have CRLF line endings.
    digest = hash('sha256', textOf(value).replaceAll('\r', ''), 'base64url')
    digests.set(value, digest)
  }
  return (KNOWN[name] as readonly string[]).includes(digest)
}

/** Makes our own wrapper around one of these functions count as Node's. */
export const vouchFor = (name: NodeFunction, wrapper: object): void =>
  void digests.set(wrapper, KNOWN[name][0])
