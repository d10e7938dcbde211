import type { ApiWorkflow } from '../api-workflow.ts';
import { findClass, type ObjectInfo } from '../object-info.ts';

/**
 * Whether equal inputs give equal pictures:
 *
 * - `exact`: nothing is drawn by chance.
 * - `cpu-noise`: noise is drawn on the CPU, so that a seed means the same on every machine; pictures differ between
 *   GPUs by rounding only.
 * - `device-noise`: the sampler draws noise on the GPU; a seed gives another picture on another kind of GPU.
 * - `remote`: a partner's service computes it and promises nothing.
 * - `unknown`: a custom node samples, or the sampler's name comes from another node; nothing is known about it.
 */
export type DeterminismClass = 'exact' | 'cpu-noise' | 'device-noise' | 'remote' | 'unknown';

/** The determinism of a workflow, and the nodes that decide it. */
export interface Determinism {
  readonly class: DeterminismClass;
  readonly why: string;
  readonly nodes: readonly string[];
}

/**
 * Samplers that draw noise on the device in every step (comfy/k_diffusion/sampling.py of ComfyUI 0.3.64:
 * `default_noise_sampler` makes its generator on `x.device`). Names that end in `_gpu` do so too.
 */
const DEVICE_SAMPLERS = new Set([
  ...[
    'euler_ancestral',
    'euler_ancestral_cfg_pp',
    'dpm_2_ancestral',
    'dpmpp_2s_ancestral',
    'dpmpp_2s_ancestral_cfg_pp',
  ],
  ...[
    'ddpm',
    'lcm',
    'res_multistep_ancestral',
    'res_multistep_ancestral_cfg_pp',
    'er_sde',
    'seeds_2',
    'seeds_3',
  ],
  ...['sa_solver', 'sa_solver_pece', 'exp_heun_2_x0_sde'],
]);

/** Samplers whose noise all comes from the CPU: the first latent's, and that of Brownian trees (`cpu=True`). */
const CPU_SAMPLERS = new Set([
  ...[
    'euler',
    'euler_cfg_pp',
    'heun',
    'heunpp2',
    'dpm_2',
    'lms',
    'dpm_fast',
    'dpm_adaptive',
    'dpmpp_sde',
    'dpmpp_2m',
  ],
  ...[
    'dpmpp_2m_cfg_pp',
    'dpmpp_2m_sde',
    'dpmpp_2m_sde_heun',
    'dpmpp_3m_sde',
    'ipndm',
    'ipndm_v',
    'deis',
    'res_multistep',
  ],
  ...[
    'res_multistep_cfg_pp',
    'gradient_estimation',
    'gradient_estimation_cfg_pp',
    'ddim',
    'uni_pc',
    'uni_pc_bh2',
  ],
  'exp_heun_2_x0',
]);

/** Nodes with a sampler of their own, by class. */
const SAMPLER_CLASSES: Readonly<Record<string, DeterminismClass>> = {
  SamplerEulerAncestral: 'device-noise',
  SamplerEulerAncestralCFGPP: 'device-noise',
  SamplerDPMPP_2S_Ancestral: 'device-noise',
  SamplerLCMUpscale: 'device-noise',
  SamplerER_SDE: 'device-noise',
  SamplerSASolver: 'device-noise',
  SamplerLMS: 'cpu-noise',
  SamplerDPMAdaptative: 'cpu-noise',
  SamplerEulerCFGpp: 'cpu-noise',
};

/** Worst last. */
const SEVERITY: readonly DeterminismClass[] = ['exact', 'cpu-noise', 'device-noise', 'unknown', 'remote'];

const WHY: Readonly<Record<DeterminismClass, string>> = {
  exact: 'No node draws noise.',
  'cpu-noise': 'Noise is drawn on the CPU: a seed means the same on every machine.',
  'device-noise': 'The sampler draws noise on the GPU: a seed gives another picture on another kind of GPU.',
  unknown:
    'A node that is not known here has a seed or a sampler of its own, or decides which sampler is used.',
  remote: "A partner's service computes it: nothing is promised.",
};

/** Class of a sampler by its name in `sampler_name`. */
export function samplerDeterminism(sampler: string): DeterminismClass {
  if (sampler.endsWith('_gpu') || DEVICE_SAMPLERS.has(sampler)) return 'device-noise';
  return CPU_SAMPLERS.has(sampler) ? 'cpu-noise' : 'unknown';
}

/** The determinism of a workflow some of whose nodes ask a partner's service. */
export function remoteDeterminism(nodes: readonly string[]): Determinism {
  return { class: 'remote', why: WHY.remote, nodes };
}

/** The determinism of a workflow: that of its least certain node. */
export function determinismOf(workflow: ApiWorkflow, objectInfo: ObjectInfo, core: ObjectInfo): Determinism {
  let worst: DeterminismClass = 'exact';
  let nodes: string[] = [];
  for (const id of Object.keys(workflow)) {
    const found = nodeDeterminism(workflow, id, objectInfo, core);
    if (SEVERITY.indexOf(found) > SEVERITY.indexOf(worst)) [worst, nodes] = [found, [id]];
    else if (found === worst && found !== 'exact') nodes.push(id);
  }
  return { class: worst, why: WHY[worst], nodes };
}

function nodeDeterminism(
  workflow: ApiWorkflow,
  id: string,
  objectInfo: ObjectInfo,
  core: ObjectInfo,
): DeterminismClass {
  const node = workflow[id];
  if (node === undefined) return 'exact';
  const { class_type: name, inputs } = node;
  const nodeClass = findClass(objectInfo, name) ?? findClass(core, name);
  if (nodeClass?.api_node === true || nodeClass?.category?.startsWith('api node') === true) return 'remote';
  if (Object.hasOwn(SAMPLER_CLASSES, name)) return SAMPLER_CLASSES[name] ?? 'exact';
  const device = inputs['noise_device'];
  // SamplerDPMPP_SDE and its like say where the noise is drawn.
  if (device === 'gpu') return 'device-noise';
  if (device === 'cpu') return 'cpu-noise';
  const sampler = inputs['sampler_name'];
  if (typeof sampler === 'string') return samplerDeterminism(sampler);
  // Another node decides which one: nothing is promised until it is known.
  if (sampler !== undefined) return 'unknown';
  if (name === 'RandomNoise' || name === 'SamplerCustom') return 'cpu-noise';
  const hasSeed = Object.keys(inputs).some((input) => /(?:^|_)seed$/.test(input));
  return hasSeed && findClass(core, name) === undefined ? 'unknown' : 'exact';
}
