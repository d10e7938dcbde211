import { registerHooks } from 'node:module';

/** The condition under which packages of this workspace export their sources (tsconfig.base.json). */
const CONDITION = '@ryla/source';

/**
 * Lets imports that follow resolve to the sources of this workspace's packages, as tsc and vitest do: Nx loads a
 * generator without the workspace's conditions, and the packages need not be built. Only for a generator that is loaded
 * from source itself, and before it imports anything of `@ryla`.
 */
export function resolveFromSource(): void {
  if (isRegistered || !import.meta.filename.endsWith('.ts')) return;
  isRegistered = true;
  registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier, { ...context, conditions: [...context.conditions, CONDITION] }),
  });
}

let isRegistered = false;
