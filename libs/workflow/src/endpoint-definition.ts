import type { ApiWorkflow } from './api-workflow.ts';
import type { EndpointConfig } from './endpoint-config.ts';

/**
 * A file given to an input. Its name, or the last part of its path or address, tells its kind by the extension.
 *
 * - `bytes`: as they are.
 * - `path`: a file on this machine, read when it is sent.
 * - `stream`: a web ReadableStream, a Node Readable or any async iterable; it is read once, whatever becomes of the job.
 * - `url`: an https address, fetched by the backend where it can do that, else by this machine.
 */
export type FileInput =
  | { readonly name: string; readonly bytes: Uint8Array }
  | { readonly path: string }
  | { readonly name: string; readonly stream: AsyncIterable<Uint8Array> }
  | { readonly url: string; readonly name?: string };

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
