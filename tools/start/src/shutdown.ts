import process from 'node:process';

/** Exit codes by signal, as a shell reports them. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Why a run was ended by a signal. */
export class Interrupted extends Error {
  readonly exitCode: number;
  constructor(signal: keyof typeof EXIT_CODES) {
    super(`interrupted by ${signal}`);
    this.name = 'Interrupted';
    this.exitCode = EXIT_CODES[signal];
  }
}

/** A signal that aborts when the process is asked to end. A second request ends it at once. */
export function abortOnSignals(onFirst: () => void): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(EXIT_CODES[name]);
      onFirst();
      controller.abort(new Interrupted(name));
    });
  }
  return controller.signal;
}
