import { inspect } from 'node:util';

const REFERENCE = /^\{\{\s*RUNPOD_SECRET_([A-Za-z0-9_.-]+)\s*\}\}$/;

/** A reference to a RunPod secret, as RunPod's docs write it (docs.runpod.io/pods/templates/secrets, read 2026-11-25). */
export function secretReference(name: string): string {
  return `{{ RUNPOD_SECRET_${name} }}`;
}

/** The name of the secret that a value refers to; undefined for any other value. */
export function referencedSecret(value: string): string | undefined {
  return REFERENCE.exec(value)?.[1];
}

/**
 * Environment variables of something live. Their values may be secrets that somebody typed in by hand, so printing,
 * inspecting or serialising them shows the names only.
 */
export class EnvironmentVariables {
  readonly #values: ReadonlyMap<string, string>;

  constructor(values: Readonly<Record<string, string>>) {
    this.#values = new Map(Object.entries(values));
  }

  /** Value of one variable. */
  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** Names of all variables, sorted. */
  names(): readonly string[] {
    return [...this.#values.keys()].sort();
  }

  /** Names and values, for a request to RunPod; never print it. */
  reveal(): Record<string, string> {
    return Object.fromEntries(this.#values);
  }

  /** The names. */
  toJSON(): unknown {
    return { names: this.names() };
  }

  /** The names. */
  [inspect.custom](): string {
    return `EnvironmentVariables(${this.names().join(', ')})`;
  }
}
