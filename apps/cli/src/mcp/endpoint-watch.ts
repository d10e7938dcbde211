import { existsSync, watch } from 'node:fs';
import path from 'node:path';

/** Milliseconds of quiet after a change: editors and generators write in several steps. */
const QUIET_MS = 150;

/** A watch on a folder. */
export interface EndpointWatch {
  close(): void;
}

/**
 * Calls back after something below the folder of the endpoints has changed, once for changes in quick succession.
 * Where it cannot be watched, `onProblem` hears why and nothing is called.
 */
export function watchEndpoints(
  folder: string,
  onChange: () => void,
  onProblem: (error: unknown) => void,
): EndpointWatch {
  // A workspace may have no endpoint yet, and then no folder of them.
  const watched = existsSync(folder) ? folder : path.dirname(folder);
  let timer: NodeJS.Timeout | undefined;
  try {
    const watcher = watch(watched, { recursive: true, persistent: false }, () => {
      clearTimeout(timer);
      timer = setTimeout(onChange, QUIET_MS);
    });
    watcher.on('error', onProblem);
    return {
      close() {
        clearTimeout(timer);
        watcher.close();
      },
    };
  } catch (error) {
    onProblem(error);
    return { close: () => undefined };
  }
}
