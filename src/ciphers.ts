/** The ciphers for sealing: tweetnacl's secretbox, or AES-256-GCM from Node. */
export const CIPHER_NAMES = ['xsalsa20-poly1305', 'aes-256-gcm'] as const

export type CipherName = (typeof CIPHER_NAMES)[number]
