// What a cache needs of keys and tickets on disk: loaded as one when the first cache is opened.
export { createKeys, fetchKeys, fetchKeysSync, waitFor } from '../keys/chain.ts'
export { isAllowed, NOT_ALLOWED } from '../keys/immediate-sources.ts'
export { takeSubkeys } from '../keys/key-source.ts'
export { MAX_PEERS } from '../store/bounds.ts'
export { importPlaintextFile, readPlaintextFile } from '../store/plaintext-file.ts'
export { storeDirectory } from '../store/private-directory.ts'
export { TicketStore } from '../store/ticket-store.ts'
