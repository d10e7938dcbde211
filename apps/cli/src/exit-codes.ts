/** How ryla ends. */
export const EXIT = {
  ok: 0,
  /** A job or a command failed. */
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  /** Ctrl-C. */
  interrupted: 130,
} as const;
