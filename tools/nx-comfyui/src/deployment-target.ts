import { LOCAL_CLOUDS_FILE, readLocalClouds } from '@ryla/business/local-clouds';

/** Where a command acts: the clouds on this machine, or a real one. */
export type DeploymentTarget = 'local' | 'cloud';

/** Values of `--target`. */
export const DEPLOYMENT_TARGETS: readonly DeploymentTarget[] = ['local', 'cloud'];

/** The environment of the `modal` program for a target, and the target in words. */
export interface ModalEnvironment {
  readonly description: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/**
 * Reads the value of `--target`.
 *
 * @throws {Error} that names the values there are.
 */
export function parseTarget(text: string): DeploymentTarget {
  const found = DEPLOYMENT_TARGETS.find((target) => target === text);
  if (found === undefined) throw new Error(`--target is ${DEPLOYMENT_TARGETS.join(' or ')}, not "${text}".`);
  return found;
}

/**
 * What the `modal` program is started with. Local clouds replace every setting that could lead to a real account; a
 * real cloud refuses the address of a machine's own stand-in.
 */
export function modalEnvironment(
  target: DeploymentTarget,
  workspaceRoot: string,
  env: Readonly<Record<string, string | undefined>>,
): ModalEnvironment {
  if (target === 'local') {
    const clouds = readLocalClouds(workspaceRoot);
    return {
      description: `local clouds (Modal at ${clouds.modal.serverUrl}, from ${LOCAL_CLOUDS_FILE})`,
      variables: { ...env, MODAL_PROFILE: undefined, MODAL_ENVIRONMENT: undefined, ...clouds.environment },
    };
  }
  const server = env['MODAL_SERVER_URL'];
  if (server !== undefined) {
    throw new Error(
      `--target cloud is a real Modal account, but MODAL_SERVER_URL leads to ${server}. Unset MODAL_SERVER_URL.`,
    );
  }
  const account = env['MODAL_TOKEN_ID'] === undefined ? 'active profile' : 'MODAL_TOKEN_ID';
  return {
    description: `Modal (account of the ${account}, environment ${env['MODAL_ENVIRONMENT'] ?? 'by default'})`,
    variables: env,
  };
}
