import type { EndpointInput } from '../endpoint-config.ts';
import type { Json } from '../json-value.ts';
import type { DeclaredInput } from '../object-info.ts';
import type { Candidate, InputKind } from './input-kind.ts';
import type { Place, WorkflowView } from './workflow-view.ts';

/**
 * Largest values offered where ComfyUI accepts more than any GPU can do (10,000 steps, pictures of 16,384 pixels a
 * side); never below what the workflow itself has. Edit them in endpoint.json.
 */
export const TIGHTER_MAXIMA: Readonly<Partial<Record<InputKind, number>>> = {
  steps: 100,
  batch: 16,
  size: 4096,
};

/** The typed input for places that get one value; the first is the one that is declared. */
export function typedInput(
  view: WorkflowView,
  candidate: Candidate,
  also: readonly Place[],
  required: boolean,
): EndpointInput {
  const { kind, node, field } = candidate;
  const base = {
    node,
    field,
    ...(also.length === 0 ? {} : { also: also.map((place) => ({ node: place.node, field: place.field })) }),
    required,
  };
  const file = fileType(view, candidate);
  // The workflow's own file is not beside endpoint.json, so a caller must give one.
  if (file !== undefined) return { type: file, ...base, required: true };
  const declared = view.declared(node, field);
  const value = view.valueAt(candidate);
  const choices = declared?.values;
  if (choices?.every((choice) => typeof choice === 'string') && typeof value === 'string') {
    const values = choices.includes(value) ? [...choices] : [value, ...choices];
    return { type: 'enum', ...base, values, default: value };
  }
  if (typeof value === 'boolean') return { type: 'boolean', ...base, default: value };
  if (typeof value === 'number') return numberInput(kind, base, value, declared);
  const isText = kind === 'prompt' || kind === 'negativePrompt' || declared?.options['multiline'] === true;
  return {
    type: isText ? 'text' : 'string',
    ...base,
    ...(typeof value === 'string' ? { default: value } : {}),
  };
}

function fileType(
  view: WorkflowView,
  { kind, node, field }: Candidate,
): 'image' | 'mask' | 'video' | 'audio' | undefined {
  if (kind === 'image' || kind === 'mask' || kind === 'video' || kind === 'audio') return kind;
  if (kind !== 'marked') return undefined;
  const options = view.declared(node, field)?.options ?? {};
  if (options['image_upload'] === true) return 'image';
  if (options['video_upload'] === true) return 'video';
  return options['audio_upload'] === true ? 'audio' : undefined;
}

function numberInput(
  kind: InputKind,
  base: { readonly node: string; readonly field: string; readonly required: boolean },
  value: number,
  declared: DeclaredInput | undefined,
): EndpointInput {
  const choices = (declared?.values ?? []).filter((choice) => typeof choice === 'number');
  const limits =
    choices.length > 0
      ? [Math.min(...choices), Math.max(...choices)]
      : [declared?.options['min'], declared?.options['max']];
  const [minimum, maximum] = limits.map(safeNumber);
  const tighter = TIGHTER_MAXIMA[kind];
  const limit =
    tighter === undefined || maximum === undefined ? maximum : Math.max(value, Math.min(maximum, tighter));
  const isWhole =
    declared === undefined
      ? Number.isInteger(value)
      : declared.type === 'INT' || (choices.length > 0 && choices.every(Number.isInteger));
  return {
    type: isWhole ? 'integer' : 'number',
    ...base,
    ...(minimum === undefined || minimum > value ? {} : { minimum }),
    ...(limit === undefined || limit < value ? {} : { maximum: limit }),
    // 0.30000000000000004 is what a page makes of 0.3.
    default:
      Number(value.toPrecision(12)) === value ? value : isWhole ? value : Number(value.toPrecision(12)),
  };
}

/** Numbers that JSON and JavaScript carry exactly: ComfyUI's seeds go beyond. */
function safeNumber(value: Json | undefined): number | undefined {
  if (typeof value !== 'number') return undefined;
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value));
}
