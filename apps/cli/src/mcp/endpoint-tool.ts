import type { JSONObject, JSONValue, Tool } from '@modelcontextprotocol/server';
import type { EndpointConfig, EndpointInput } from '@ryla/workflow';

import { dollars, duration } from '../output.ts';

/** What an endpoint's last jobs took. */
export interface EndpointExperience {
  /** Jobs that the figures stand on; 0 when nothing is known. */
  readonly jobs: number;
  /** Milliseconds from submission to the end, the median. */
  readonly totalMs: number | undefined;
  /** US dollars, the median. */
  readonly usd: number | undefined;
  /** US dollars of the dearest. */
  readonly dearestUsd: number | undefined;
}

/** Experience with an endpoint that has not run yet. */
export const NO_EXPERIENCE: EndpointExperience = {
  jobs: 0,
  totalMs: undefined,
  usd: undefined,
  dearestUsd: undefined,
};

/** Input types whose value is a file. */
export const FILE_INPUTS = ['image', 'mask', 'video', 'audio'] as const;

/** One of {@link FILE_INPUTS}. */
export type FileInputType = (typeof FILE_INPUTS)[number];

/** Whether an input takes a file. */
export function isFileInput(type: EndpointInput['type']): type is FileInputType {
  return FILE_INPUTS.some((each) => each === type);
}

type JsonSchema = Tool['inputSchema'];

/** What every endpoint's tool answers, as a JSON Schema. */
export const RESULT_SCHEMA: JsonSchema = {
  type: 'object',
  properties: {
    jobId: { type: 'string', description: 'For job_status, job_result and cancel_job.' },
    endpoint: { type: ['string', 'null'] },
    backend: { type: 'string' },
    status: {
      type: 'string',
      description: 'succeeded; queued or running when it takes longer than one call waits.',
    },
    outputs: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          output: { type: ['string', 'null'], description: "The output's name in endpoint.json." },
          name: { type: 'string' },
          kind: { type: 'string' },
          contentType: { type: 'string' },
          bytes: { type: 'integer' },
          path: { type: 'string', description: "The file on the server's machine." },
          inline: { type: 'boolean', description: 'Whether the content is in this answer too.' },
        },
        required: ['output', 'name', 'kind', 'contentType', 'bytes', 'path', 'inline'],
      },
    },
    seconds: { type: ['number', 'null'], description: 'From submission to the end.' },
    costUsd: { type: ['number', 'null'] },
    warnings: { type: 'array', items: { type: 'string' } },
  },
  required: ['jobId', 'endpoint', 'backend', 'status', 'outputs', 'seconds', 'costUsd', 'warnings'],
};

/** An endpoint as a tool: its inputs as a JSON Schema, and words by which an agent picks the right one. */
export function endpointTool(config: EndpointConfig, experience: EndpointExperience): Tool {
  const { title } = config;
  const required = Object.entries(config.inputs).flatMap(([name, input]) => (input.required ? [name] : []));
  return {
    name: config.name,
    title,
    description: describe(config, experience),
    inputSchema: {
      type: 'object',
      properties: Object.fromEntries(
        Object.entries(config.inputs).map(([name, input]) => [name, inputSchema(input)]),
      ),
      ...(required.length === 0 ? {} : { required }),
      additionalProperties: false,
    },
    outputSchema: RESULT_SCHEMA,
    annotations: {
      title,
      readOnlyHint: false,
      destructiveHint: false,
      idempotentHint: false,
      openWorldHint: true,
    },
  };
}

function describe(config: EndpointConfig, experience: EndpointExperience): string {
  const outputs = Object.entries(config.outputs).map(([name, { type }]) => `${name} (${type})`);
  const needed = Object.entries(config.inputs).flatMap(([name, { required }]) => (required ? [name] : []));
  return [
    config.description === '' ? sentence(config.title) : `${config.title}: ${sentence(config.description)}`,
    outputs.length === 0 ? undefined : `Makes: ${outputs.join(', ')}.`,
    needed.length === 0 ? 'Every input is optional.' : `Needs: ${needed.join(', ')}.`,
    expectation(config, experience),
  ]
    .filter((part) => part !== undefined)
    .join(' ');
}

function sentence(text: string): string {
  return /[.!?]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`;
}

function expectation({ timeouts }: EndpointConfig, { jobs, totalMs, usd }: EndpointExperience): string {
  const cold = `a machine that has to start first adds up to ${timeouts.startup} s`;
  if (jobs === 0 || totalMs === undefined)
    return `It has not run here yet: at most ${timeouts.execution} s of work; ${cold}.`;
  const cost = usd === undefined ? '' : ` and costs about ${dollars(usd)}`;
  return `Takes about ${duration(totalMs)}${cost} (median of its last ${jobs === 1 ? 'job' : `${jobs} jobs`}); ${cold}.`;
}

function inputSchema(input: EndpointInput): JSONObject {
  const { title, description } = input;
  const described = (text: string | undefined): JSONObject => ({
    ...(title === undefined ? {} : { title }),
    ...(text === undefined ? {} : { description: text }),
  });
  switch (input.type) {
    case 'string':
    case 'text':
      return {
        type: 'string',
        ...described(description),
        ...given({ maxLength: input.maxLength, default: input.default }),
      };
    case 'integer':
    case 'number':
      return {
        type: input.type,
        ...described(description),
        ...given({ minimum: input.minimum, maximum: input.maximum, default: input.default }),
      };
    case 'boolean':
      return { type: 'boolean', ...described(description), ...given({ default: input.default }) };
    case 'enum':
      return { enum: input.values, ...described(description), ...given({ default: input.default }) };
    default: {
      // The default is a file beside endpoint.json, which an agent could not send.
      const how = `${input.type === 'image' ? 'An' : 'A'} ${input.type} file: its path on the server's machine, an https address, or a data: URI.`;
      const absent = input.default === undefined ? undefined : 'Leave it out for the default.';
      const text = [description, how, absent].filter((part) => part !== undefined).join(' ');
      return { type: 'string', ...described(text) };
    }
  }
}

function given(fields: Readonly<Record<string, JSONValue | undefined>>): JSONObject {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
