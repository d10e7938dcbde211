/** Options of the commands about what is live. */
import type { Provider } from '@ryla/business/config';

import type { CommonOptions } from '../commands/common-options.ts';

/** Of all of them. */
export interface CloudOptions extends CommonOptions {
  readonly provider: Provider;
  readonly environment?: string;
}

/** Of `ryla deploy`. */
export interface DeployOptions extends CloudOptions {
  readonly affected?: boolean;
  readonly all?: boolean;
  readonly base?: string;
  readonly head?: string;
  readonly plan?: boolean;
  readonly detailedExitCode?: boolean;
  readonly allowUndeploy?: boolean;
  readonly smoke: boolean;
  readonly summary?: string;
  readonly parallel: number;
  readonly image: readonly string[];
  readonly images?: string;
}

/** Of `ryla drift`. */
export interface DriftOptions extends CloudOptions {
  readonly summary?: string;
  readonly issueBody?: string;
  readonly parallel: number;
}

/** Of `ryla undeploy`. */
export interface UndeployOptions extends CloudOptions {
  readonly confirm: readonly string[];
}

/** Of `ryla rollback`. */
export interface RollbackOptions extends CloudOptions {
  readonly to?: string;
}

/** Of `ryla adopt`. */
export interface AdoptOptions extends CommonOptions {
  readonly environment?: string;
  readonly plan?: boolean;
  readonly confirm?: string;
}
