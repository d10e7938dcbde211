import type { ConfiguredService } from '@ryla/business/config';

/** The service of the workspace as it is now. One that was replaced is closed when its last user is done. */
export interface ServicePool {
  use<T>(work: (opened: ConfiguredService) => Promise<T>): Promise<T>;
  /** Closes every service; who still uses one gets `service_closed`. Jobs go on. */
  close(): Promise<void>;
}

interface Opened {
  readonly version: string;
  readonly service: Promise<ConfiguredService>;
  users: number;
}

/**
 * Makes a pool.
 *
 * @param open opens the service of the workspace.
 * @param version tells whether the workspace is another than the one that was opened last.
 */
export function createServicePool(
  open: () => Promise<ConfiguredService>,
  version: () => string,
): ServicePool {
  let current: Opened | undefined;
  const all = new Set<Opened>();

  async function dispose(opened: Opened): Promise<void> {
    if (!all.delete(opened)) return;
    const { service } = await opened.service;
    await service.close();
  }

  function retire(opened: Opened): Promise<void> | undefined {
    if (current === opened) current = undefined;
    return opened.users === 0 ? dispose(opened) : undefined;
  }

  function latest(): Opened {
    const wanted = version();
    if (current?.version === wanted) return current;
    // Closing the old one is nobody's to wait for, and fails for nobody.
    if (current !== undefined) void retire(current)?.catch(() => undefined);
    const opened: Opened = { version: wanted, service: open(), users: 0 };
    current = opened;
    all.add(opened);
    return opened;
  }

  return {
    async use(work) {
      const opened = latest();
      opened.users += 1;
      try {
        let service: ConfiguredService;
        try {
          service = await opened.service;
        } catch (error) {
          all.delete(opened);
          if (current === opened) current = undefined;
          throw error;
        }
        return await work(service);
      } finally {
        opened.users -= 1;
        if (current !== opened && opened.users === 0) await dispose(opened).catch(() => undefined);
      }
    },
    async close() {
      current = undefined;
      await Promise.allSettled([...all].map(dispose));
    },
  };
}
