import type { Candidate } from './input-kind.ts';
import { camelCase } from './input-name.ts';
import type { WorkflowView } from './workflow-view.ts';

/** Inputs of loaders that a caller could choose from. */
const MODEL_FIELDS: Readonly<Record<string, string>> = {
  ckpt_name: 'checkpoint',
  unet_name: 'model',
  lora_name: 'lora',
  control_net_name: 'controlnet',
};

/** Files of models, where the object_info lists more than one: that of a server which has them. */
export function modelCandidates(view: WorkflowView): Candidate[] {
  return view.ids.flatMap((id) =>
    view.declaredInputs(id).flatMap(({ name: field, values }) => {
      const name = Object.hasOwn(MODEL_FIELDS, field) ? MODEL_FIELDS[field] : undefined;
      if (name === undefined || (values?.length ?? 0) < 2) return [];
      const place = view.placeOf(id, field);
      if (place === undefined) return [];
      const why = `Node ${id} (${view.classOf(id)}) loads it, and the object_info lists ${values?.length ?? 0} files.`;
      return [{ kind: 'model' as const, ...place, name: camelCase(name), why }];
    }),
  );
}
