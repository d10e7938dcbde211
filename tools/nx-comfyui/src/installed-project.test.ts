import { expect, it } from 'vitest';

import { IS_INSTALLED } from './installation.ts';
import { installedProject } from './installed-project.ts';

it('has only what needs nothing but the package, in a workspace that installed it', () => {
  const outline = { workflow: 'workflow.json', description: 'Makes posters.', files: [] };
  const programs = 'node_modules/@ryla/nx-comfyui/dist';
  const project = installedProject('apps/endpoints/poster', outline, programs);
  expect(project).not.toHaveProperty('implicitDependencies');
  expect(project.metadata).toEqual({ description: 'Makes posters.' });
  const commands = Object.entries(project.targets ?? {}).map(([name, { options }]) => [
    name,
    (options as { command: string }).command,
  ]);
  expect(Object.fromEntries(commands)).toEqual({
    validate: `node ${programs}/validate.js apps/endpoints/poster`,
    openapi: `node ${programs}/openapi.js apps/endpoints/poster`,
    run: `node ${programs}/run.js apps/endpoints/poster`,
  });
  expect(IS_INSTALLED).toBe(false);
});
