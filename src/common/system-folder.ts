/**
 * The folder for settings of the administrator. The path is fixed, because users can set every environment variable.
 */
export const SYSTEM_FOLDER =
  process.platform === 'win32'
    ? 'C:\\ProgramData\\ticketkeep'
    : process.platform === 'darwin'
      ? '/Library/Application Support/ticketkeep'
      : '/etc/ticketkeep'
