/**
 * Twenty workflows with community nodes, written from public names of node classes: what each class must resolve to.
 * `?` stands for "reported unknown or ambiguous, with nothing chosen".
 */
import type { ApiWorkflow } from '../src/api-workflow.ts';

export interface CommunityWorkflow {
  readonly name: string;
  readonly workflow: ApiWorkflow;
  /** Repository by class, `?`, or `registry:<id>`. Classes of ComfyUI itself are absent. */
  readonly expected: Readonly<Record<string, string>>;
}

type Meta = NonNullable<ApiWorkflow[string]['_meta']>;

function workflow(...classes: readonly (string | readonly [string, Meta])[]): ApiWorkflow {
  const entries = ['CheckpointLoaderSimple', ...classes, 'SaveImage'].map((given, index) => {
    const [name, meta] = typeof given === 'string' ? [given, undefined] : given;
    return [
      String(index + 1),
      { class_type: name, inputs: {}, ...(meta === undefined ? {} : { _meta: meta }) },
    ];
  });
  return Object.fromEntries(entries) as ApiWorkflow;
}

const kjnodes = 'https://github.com/kijai/ComfyUI-KJNodes';
const videoHelper = 'https://github.com/Kosinkadink/ComfyUI-VideoHelperSuite';
const COMMIT = '0123456789abcdef0123456789abcdef01234567';

export const COMMUNITY_WORKFLOWS: readonly CommunityWorkflow[] = [
  {
    name: 'face detailer',
    workflow: workflow('FaceDetailer', 'UltralyticsDetectorProvider', 'SAMLoader'),
    expected: {
      FaceDetailer: 'https://github.com/ltdrdata/ComfyUI-Impact-Pack',
      UltralyticsDetectorProvider: 'https://github.com/ltdrdata/ComfyUI-Impact-Subpack',
      SAMLoader: 'https://github.com/ltdrdata/ComfyUI-Impact-Pack',
    },
  },
  {
    name: 'resize by KJ',
    workflow: workflow('ImageResizeKJv2', 'INTConstant'),
    expected: { ImageResizeKJv2: kjnodes, INTConstant: kjnodes },
  },
  {
    name: 'video in and out',
    workflow: workflow('VHS_LoadVideo', 'VHS_VideoCombine', 'RIFE VFI'),
    expected: {
      VHS_LoadVideo: videoHelper,
      VHS_VideoCombine: videoHelper,
      'RIFE VFI': 'https://github.com/Fannovel16/ComfyUI-Frame-Interpolation',
    },
  },
  {
    name: 'style of a picture',
    workflow: workflow('IPAdapterAdvanced', 'IPAdapterUnifiedLoader'),
    expected: {
      IPAdapterAdvanced: 'https://github.com/cubiq/ComfyUI_IPAdapter_plus',
      IPAdapterUnifiedLoader: 'https://github.com/cubiq/ComfyUI_IPAdapter_plus',
    },
  },
  {
    name: 'pose',
    workflow: workflow('DWPreprocessor'),
    expected: { DWPreprocessor: 'https://github.com/Fannovel16/comfyui_controlnet_aux' },
  },
  {
    name: 'tiled upscale',
    workflow: workflow('UltimateSDUpscale'),
    expected: { UltimateSDUpscale: 'https://github.com/ssitu/ComfyUI_UltimateSDUpscale' },
  },
  {
    name: 'Wan by the wrapper',
    workflow: workflow('WanVideoSampler', 'WanVideoModelLoader'),
    expected: {
      WanVideoSampler: 'https://github.com/kijai/ComfyUI-WanVideoWrapper',
      WanVideoModelLoader: 'https://github.com/kijai/ComfyUI-WanVideoWrapper',
    },
  },
  {
    name: 'quantised model',
    workflow: workflow('UnetLoaderGGUF'),
    expected: { UnetLoaderGGUF: 'https://github.com/city96/ComfyUI-GGUF' },
  },
  {
    name: 'captions',
    workflow: workflow('Florence2Run'),
    expected: { Florence2Run: 'https://github.com/kijai/ComfyUI-Florence2' },
  },
  {
    name: 'masks',
    workflow: workflow('Sam2Segmentation'),
    expected: { Sam2Segmentation: 'https://github.com/kijai/ComfyUI-segment-anything-2' },
  },
  {
    name: 'background',
    workflow: workflow('BiRefNetRMBG'),
    expected: { BiRefNetRMBG: 'https://github.com/1038lab/ComfyUI-RMBG' },
  },
  {
    name: 'face of a picture, in several repositories',
    workflow: workflow('ApplyInstantID', 'ApplyPulidFlux'),
    expected: { ApplyInstantID: '?', ApplyPulidFlux: '?' },
  },
  {
    name: 'the same, named by its package',
    workflow: workflow(['ApplyInstantID', { cnr_id: 'comfyui_instantid', ver: '1.0.0' }]),
    expected: { ApplyInstantID: 'https://github.com/cubiq/ComfyUI_InstantID' },
  },
  {
    name: 'packages of the registry, one of which the map does not know',
    workflow: workflow(
      ['Seed (rgthree)', { cnr_id: 'rgthree-comfy', ver: '1.0.2512112053' }],
      ['ClownsharKSampler_Beta', { cnr_id: 'res4lyf', ver: '1.2.1' }],
    ),
    expected: {
      'Seed (rgthree)': 'https://github.com/rgthree/rgthree-comfy',
      ClownsharKSampler_Beta: 'registry:res4lyf',
    },
  },
  {
    name: 'a repository by aux_id and commit',
    workflow: workflow(['SetNode', { aux_id: 'kijai/ComfyUI-KJNodes', ver: COMMIT }]),
    expected: { SetNode: kjnodes },
  },
  {
    name: 'no word about its package but a telling name',
    workflow: workflow('Power Lora Loader (rgthree)'),
    expected: { 'Power Lora Loader (rgthree)': 'https://github.com/rgthree/rgthree-comfy' },
  },
  {
    name: "a studio's own",
    workflow: workflow('ExampleStudioColourGrade'),
    expected: { ExampleStudioColourGrade: '?' },
  },
  {
    name: 'two packages that both have it',
    workflow: workflow('KSampler (Efficient)', 'LayerUtility: ImageScaleByAspectRatio V2'),
    expected: { 'KSampler (Efficient)': '?', 'LayerUtility: ImageScaleByAspectRatio V2': '?' },
  },
  {
    name: 'helpers',
    workflow: workflow(
      'ShowText|pysssss',
      'ttN text',
      'easy positive',
      'ImageResize+',
      'Anything Everywhere',
    ),
    expected: {
      'ShowText|pysssss': 'https://github.com/pythongosssss/ComfyUI-Custom-Scripts',
      'ttN text': 'https://github.com/TinyTerra/ComfyUI_tinyterraNodes',
      'easy positive': 'https://github.com/yolain/ComfyUI-Easy-Use',
      'ImageResize+': 'https://github.com/cubiq/ComfyUI_essentials',
      'Anything Everywhere': 'https://github.com/chrisgoringe/cg-use-everywhere',
    },
  },
  {
    name: 'names by a pattern, and core classes that custom nodes copy',
    workflow: workflow(
      '[Comfy3D] Anything New',
      'KSampler',
      'UpscaleModelLoader',
      'CR Aspect Ratio',
      'ReActorFaceSwap',
    ),
    expected: {
      '[Comfy3D] Anything New': 'https://github.com/MrForExample/ComfyUI-3D-Pack',
      'CR Aspect Ratio': 'https://github.com/Suzie1/ComfyUI_Comfyroll_CustomNodes',
      ReActorFaceSwap: 'https://github.com/Gourieff/ComfyUI-ReActor',
    },
  },
];
