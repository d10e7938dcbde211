/** Where comparisons run: on a job store of their own, so that the gates of the stages do not count their jobs. */
import path from 'node:path';

import type { ResolvedConfig } from '@ryla/business/config';

/** The workspace as a comparison has it: another state folder, no routes, no spend limit, no stages. */
export function comparing({ root, target, env, config }: ResolvedConfig): ResolvedConfig {
  const { routes: _routes, usdPerDay: _usd, ...rest } = config;
  const state = path.join(config.state ?? '.ryla', 'compare');
  return { root, target, env, config: { ...rest, state, migration: false } };
}
