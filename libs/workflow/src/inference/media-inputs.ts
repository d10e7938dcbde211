import type { Candidate } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import type { WorkflowView } from './workflow-view.ts';

type MediaKind = 'image' | 'mask' | 'video' | 'audio';

/** How ComfyUI marks an input for which its page uploads a file. */
const UPLOADS = [
  ['image_upload', 'image'],
  ['video_upload', 'video'],
  ['audio_upload', 'audio'],
] as const;

/** Names of inputs that tell nothing about the file. */
const PLAIN_USES = /^(?:images?\d*|pixels|source|destination|video|audio|file|mask|input_image|samples)$/;

/** Files that the workflow loads and that something depends on. */
export function mediaCandidates(view: WorkflowView): Candidate[] {
  return view.ids.flatMap((id) =>
    view.declaredInputs(id).flatMap(({ name: field, type, options }) => {
      if (typeof view.constant(id, field) !== 'string') return [];
      const kind =
        UPLOADS.find(([option]) => options[option] === true)?.[1] ??
        loadedKind(view.classOf(id), field, type);
      if (kind === undefined) return [];
      const isMask = kind === 'image' && givesOnlyMask(view, id);
      const why = `Node ${id} (${view.classOf(id)}) loads it, and an output depends on it.`;
      return [
        {
          kind: isMask ? 'mask' : kind,
          node: id,
          field,
          name: nameOf(view, id, isMask ? 'mask' : kind),
          why,
        },
      ];
    }),
  );
}

/** Loaders of custom nodes, whose uploads are a matter of their page's JavaScript. */
function loadedKind(className: string, field: string, type: string): Exclude<MediaKind, 'mask'> | undefined {
  const match = /load_?(image|video|audio)/i.exec(className)?.[1]?.toLowerCase();
  if (match !== 'image' && match !== 'video' && match !== 'audio') return undefined;
  const isFile = field === match || field === 'file';
  return isFile && (type === 'COMBO' || type === 'STRING') ? match : undefined;
}

function givesOnlyMask(view: WorkflowView, id: string): boolean {
  const outputs = view.outputTypes(id);
  const used = view.consumers(id);
  return used.length > 0 && used.every(({ output }) => outputs[output] === 'MASK');
}

/** After the one input that it goes to, where that says what it is for: `start_image`, `last_frame`. */
function nameOf(view: WorkflowView, id: string, kind: MediaKind): string {
  const uses = new Set(view.consumers(id).map(({ input }) => input.replace(/^.*\./, '')));
  const telling = [...uses].filter((use) => !PLAIN_USES.test(use));
  const [use] = telling;
  return telling.length === 1 && use !== undefined ? camelCase(use) || kind : kind;
}
