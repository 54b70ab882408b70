/** What an administrator sets for everybody. A fixed path, since every variable is the user's to set. */
export const SYSTEM_FOLDER =
  process.platform === 'win32'
    ? 'C:\\ProgramData\\ticketkeep'
    : process.platform === 'darwin'
      ? '/Library/Application Support/ticketkeep'
      : '/etc/ticketkeep'
