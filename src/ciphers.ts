/** How a record is sealed: tweetnacl's secretbox, or Node's own AES-256-GCM. */
export const CIPHER_NAMES = ['xsalsa20-poly1305', 'aes-256-gcm'] as const

export type CipherName = (typeof CIPHER_NAMES)[number]
