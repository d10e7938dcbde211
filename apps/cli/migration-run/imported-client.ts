/** The typed client that `nx sync` made of an imported endpoint. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { type EndpointDefinition } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';
import { z } from 'zod';

/** Inputs that both endpoints of a run have. */
export interface PictureInputs {
  readonly prompt: string;
  readonly seed: number;
  readonly steps: number;
  readonly width: number;
  readonly height: number;
}

/** An endpoint, and the check of its inputs. */
export interface PictureClient {
  readonly endpoint: EndpointDefinition<PictureInputs>;
  readonly inputs: { parse(value: PictureInputs): PictureInputs };
}

/** Loads the client of an endpoint: its `client.ts` exports `<name>` and `<name>Inputs`. */
export async function importedClient(folder: string, name: string): Promise<PictureClient> {
  const exported = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  const module: unknown = await import(pathToFileURL(path.join(folder, name, 'client.ts')).href);
  const loaded = z.record(z.string(), z.unknown()).parse(module);
  const inputs = z.instanceof(z.ZodType).parse(loaded[`${exported}Inputs`]);
  return {
    endpoint: loadEndpoint<PictureInputs>(path.join(folder, name)),
    inputs: {
      parse(value) {
        inputs.parse(value);
        return value;
      },
    },
  };
}
