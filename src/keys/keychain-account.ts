import { userInfo } from 'node:os'

/** Every keychain keeps our key under this service, and under the user's name as the account. */
export const SERVICE = 'ticketkeep'

/** The user's name, or the number of a user without a passwd entry. */
export function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid-${process.geteuid!()}`
  }
}
