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

/** The command line asks for something that does not exist, or in a way that cannot be understood. */
export class UsageError extends Error {
  /** Stable, for `--json`. */
  readonly code: string;
  constructor(message: string, code = 'usage', options?: ErrorOptions) {
    super(message, options);
    this.name = 'UsageError';
    this.code = code;
  }
}
