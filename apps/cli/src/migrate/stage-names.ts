import type { Stage } from '@ryla/migration';

/** The stages in order; checked against the library by a test, which is not loaded for `--help`. */
export const STAGE_NAMES = [
  'off',
  'models_verified',
  'shadow',
  'canary_1',
  'canary_5',
  'canary_25',
  'canary_50',
  'live',
  'ramp_down',
  'complete',
] as const satisfies readonly Stage[];
