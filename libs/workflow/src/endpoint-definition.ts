import type { ApiWorkflow } from './api-workflow.ts';
import type { EndpointConfig } from './endpoint-config.ts';

/** A file given to an input: bytes with a name, or a path on this machine. */
export type FileInput = { readonly name: string; readonly bytes: Uint8Array } | { readonly path: string };

/** What an input may hold. */
export type InputValue = string | number | boolean | FileInput;

/** Values for an endpoint's inputs, by name. */
export type InputValues = Readonly<Record<string, InputValue | undefined>>;

/** Kind of an output. */
export type OutputKind = 'image' | 'video' | 'audio' | 'text' | 'file' | 'latent';

declare const types: unique symbol;

/** An endpoint with the types of its inputs and the names of its outputs. */
export interface EndpointDefinition<Inputs extends object = InputValues, Outputs extends string = string> {
  readonly config: EndpointConfig;
  readonly workflow: ApiWorkflow;
  /** Folder of endpoint.json, where default files are; absent for an endpoint that has none. */
  readonly directory?: string;
  /** Only for the compiler. */
  readonly [types]?: { readonly inputs: Inputs; readonly outputs: Outputs };
}

/** Types of an endpoint's inputs. */
export type InputsOf<Definition> = Definition extends EndpointDefinition<infer Inputs> ? Inputs : never;
