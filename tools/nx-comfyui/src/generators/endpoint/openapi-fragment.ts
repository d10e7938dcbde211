import type { EndpointConfig, EndpointInput } from '@ryla/workflow';

import { clientNames } from './identifiers.ts';
import { isFile, isNeeded } from './input-words.ts';

type Schema = Readonly<Record<string, unknown>>;

/**
 * What `POST /api/ryla/run` of an endpoint's app takes, as OpenAPI 3.0.3: the part of its gateway's document that
 * depends on endpoint.json. The whole document is at the app's `GET /openapi.json`.
 */
export function openapiFragment(config: EndpointConfig): Schema {
  const inputs = `${clientNames(config.name).type}Inputs`;
  return {
    openapi: '3.0.3',
    info: {
      title: config.title,
      version: '1.0.0',
      description:
        `${config.description} GET /openapi.json of the deployed app has the whole document.`.trim(),
    },
    paths: { '/api/ryla/run': { post: runOperation(config, inputs) } },
    components: {
      schemas: { [inputs]: inputSchema(config), AssetReference: ASSET_REFERENCE },
      securitySchemes: securitySchemes(config),
    },
  };
}

/** JSON Schema (OpenAPI 3.0) of an endpoint's inputs, as its gateway states them. */
export function inputSchema({ inputs }: EndpointConfig): Schema {
  const required = Object.entries(inputs).flatMap(([name, input]) => (isNeeded(input) ? [name] : []));
  return {
    type: 'object',
    properties: Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, property(input)])),
    additionalProperties: false,
    ...(required.length === 0 ? {} : { required }),
  };
}

const ASSET_REFERENCE: Schema = {
  type: 'object',
  description: 'A file that was uploaded before, with POST /api/v2/assets.',
  properties: {
    __type: { type: 'string', enum: ['core/ASSET'] },
    info: {
      type: 'object',
      properties: { id: { type: 'string', format: 'uuid' } },
      required: ['id'],
    },
  },
  required: ['__type', 'info'],
};

function runOperation({ name, outputs }: EndpointConfig, inputs: string): Schema {
  const made = Object.entries(outputs).map(([output, { type }]) => `${output} (${type})`);
  const body = {
    type: 'object',
    properties: { inputs: { $ref: `#/components/schemas/${inputs}` } },
  };
  return {
    operationId: 'run',
    summary: `Run ${name}`,
    ...(made.length === 0 ? {} : { description: `Makes ${made.join(', ')}.` }),
    requestBody: { required: true, content: { 'application/json': { schema: body } } },
    responses: {
      201: { description: 'The job, as GET /api/v2/jobs/{id} answers it.' },
      422: {
        description: '`unknown_input`, `missing_input` or `invalid_input`; the input is in the details.',
      },
    },
  };
}

function securitySchemes({ providers }: EndpointConfig): Schema {
  if (providers.modal.auth === 'bearer') return { bearer: { type: 'http', scheme: 'bearer' } };
  return {
    modalKey: { type: 'apiKey', in: 'header', name: 'Modal-Key' },
    modalSecret: { type: 'apiKey', in: 'header', name: 'Modal-Secret' },
  };
}

const TYPES: Readonly<Record<string, string>> = { string: 'string', text: 'string', enum: 'string' };

function property(input: EndpointInput): Schema {
  const words = {
    ...(input.title === undefined || input.title === '' ? {} : { title: input.title }),
    ...(input.description === undefined || input.description === ''
      ? {}
      : { description: input.description }),
  };
  if (isFile(input))
    return { ...words, allOf: [{ $ref: '#/components/schemas/AssetReference' }], nullable: true };
  return {
    type: TYPES[input.type] ?? input.type,
    nullable: true,
    ...words,
    ...(input.type === 'enum' ? { enum: [...input.values, null] } : {}),
    ...limits(input),
    ...(input.default === undefined ? {} : { default: input.default }),
  };
}

function limits(input: EndpointInput): Schema {
  if (input.type === 'integer' || input.type === 'number') {
    return {
      ...(input.minimum === undefined ? {} : { minimum: input.minimum }),
      ...(input.maximum === undefined ? {} : { maximum: input.maximum }),
    };
  }
  const isText = input.type === 'string' || input.type === 'text';
  return isText && input.maxLength !== undefined ? { maxLength: input.maxLength } : {};
}
