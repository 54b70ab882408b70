import { userInfo } from 'node:os'

/** The service under which every keychain stores our key. The account is the user's name. */
export const SERVICE = 'ticketkeep'

/** The user's name, or the uid of a user without a passwd entry. */
export function accountName(): string {
  try {
    return userInfo().username
  } catch {
    return `uid-${process.geteuid!()}`
  }
}
