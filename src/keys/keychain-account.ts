/** The service under which every keychain keeps our key; the account is the user's name. */
export const SERVICE = 'ticketkeep'
