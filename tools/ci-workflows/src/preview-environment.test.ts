import { describe, expect, it } from 'vitest';

import { makeEnvironment, removeEnvironment, type RunModal } from './preview-environment.ts';

/** `modal` with some environments, and what it was asked. */
function modal(...names: string[]): { readonly run: RunModal; readonly asked: string[] } {
  const asked: string[] = [];
  const run: RunModal = (args) => {
    if (args[1] === 'list') return JSON.stringify(names.map((name) => ({ name, webhook_suffix: name })));
    asked.push(args.join(' '));
    return '';
  };
  return { run, asked };
}

describe('the environment of a pull request', () => {
  it('is made with its secret', () => {
    const { run, asked } = modal('main');
    expect(makeEnvironment('pr-7', 'token', run)).toBe('pr-7 made');
    expect(asked).toEqual([
      'environment create pr-7',
      'secret create --force --env pr-7 ryla-secrets RYLA_API_TOKEN=token',
    ]);
  });

  it('is kept when it is there', () => {
    const { run, asked } = modal('main', 'pr-7');
    expect(makeEnvironment('pr-7', 'token', run)).toBe('pr-7 is there');
    expect(asked).toHaveLength(1);
  });

  it('is removed once', () => {
    const { run, asked } = modal('main', 'pr-7');
    expect(removeEnvironment('pr-7', run)).toBe('pr-7 removed');
    expect(asked).toEqual(['environment delete pr-7 --yes']);
    expect(removeEnvironment('pr-8', run)).toBe('pr-8 is not there');
  });

  it('is no other environment', () => {
    const { run, asked } = modal('main', 'prod');
    for (const name of ['main', 'prod', 'pr-', 'pr-0', 'pr-7x', '--yes', 'pr-1\n'])
      expect(() => removeEnvironment(name, run)).toThrow(/pr-<number/);
    expect(asked).toEqual([]);
  });

  it('needs a token', () => {
    expect(() => makeEnvironment('pr-7', '', modal('main').run)).toThrow(/RYLA_API_TOKEN/);
  });
});
