import { findClass, type ObjectInfo } from '../object-info.ts';
import type { NodeUse } from './node-use.ts';

/** A node that asks another company's service, and spends the caller's credits there. */
export interface PartnerNode {
  readonly node: string;
  readonly className: string;
  /** The company: as the page's menu names it, else as the name of the class or package does. */
  readonly partner: string | undefined;
  /** Who says so: the object_info, or only the name of the class or of its package. */
  readonly statedBy: 'object_info' | 'class name' | 'package name';
}

/** Companies whose nodes in ComfyUI all ask their service: what the names of their classes begin with. */
const SERVICES: readonly (readonly [RegExp, string])[] = [
  [/^Beeble/, 'Beeble'],
  [/^Bria[A-Z]/, 'Bria'],
  [/^ByteDance/, 'ByteDance'],
  [/^Clarity[A-Z]/, 'Clarity AI'],
  [/^Claude[A-Z]/, 'Anthropic'],
  [/^ElevenLabs/, 'ElevenLabs'],
  [/^FishAudio/, 'Fish Audio'],
  [/^Gemini[A-Z]/, 'Google Gemini'],
  [/^Grok[A-Z]/, 'xAI Grok'],
  [/^HeyGen/, 'HeyGen'],
  [/^Higgsfield/, 'Higgsfield'],
  [/^HitPaw/, 'HitPaw'],
  [/^Kling[A-Z\d]/, 'Kling'],
  [/^Ltxv?Api/, 'Lightricks'],
  [/^Luma[A-Z]/, 'Luma'],
  [/^Magnific/, 'Magnific'],
  [/^Meshy/, 'Meshy'],
  [/^Mirelo/, 'Mirelo'],
  [/^Moonvalley/, 'Moonvalley Marey'],
  [/^Open(?:AI|Router)[A-Z]/, 'OpenAI or OpenRouter'],
  [/^Pika[A-Z\d]/, 'Pika'],
  [/^Pixverse/, 'PixVerse'],
  [/^Pruna[A-Z]/, 'Pruna'],
  [/^Quiver[A-Z]/, 'Quiver'],
  [/^Recraft/, 'Recraft'],
  [/^Reve[A-Z]/, 'Reve'],
  [/^Rodin3D/, 'Rodin'],
  [/^Runway/, 'Runway'],
  [/^Sonilo/, 'Sonilo'],
  [/^Stability[A-Z]/, 'Stability AI'],
  [/^Sync(?:LipSync|TalkingImage)/, 'Sync'],
  [/^Tencent/, 'Tencent'],
  [/^Topaz[A-Z]/, 'Topaz'],
  [/^Veed[A-Z]/, 'Veed'],
  [/^Veo\d*[A-Z]/, 'Google Veo'],
  [/^Vidu[A-Z\d]/, 'Vidu'],
  [/^Wavespeed/, 'WaveSpeed'],
];

/** Companies that also publish models for ComfyUI itself: their services' classes end as these do. */
const SERVICES_WITH_MODELS: readonly (readonly [RegExp, string])[] = [
  [/^Flux.*Node(?:V\d+)?$/, 'BFL'],
  [/^Ideogram(?:V\d|P[A-Z])/, 'Ideogram'],
  [/^Krea\d*[A-Z].*Node(?:V\d+)?$/, 'Krea'],
  [/^Mini[mM]ax.*Node(?:V\d+)?$/, 'MiniMax'],
  [/^Tripo.*Node(?:V\d+)?$/, 'Tripo'],
  // ComfyUI's classes of services that end so: WanTextToVideoApi, QwenImageEditApi, HunyuanImageEditApi.
  [/^[A-Z]\w*Api(?:V\d+)?$/, ''],
];

/** Packages that ask a paid service say so: its name and `api`, as in comfyui-fal-api and ComfyUI-KLingAI-API. */
const PACKAGE =
  /(?:^|[-_/])(fal|replicate|openai|gpt|gemini|klingai|kling|lumaai|runway|minimax|veo\d?|stability-ai|sai|bfl|bria|venice|together|reve|mureka|haiperai|jimeng|volcengine|mistralai|retrodiffusion)[-_](?:[a-z\d]+[-_])*(?:api|connector)(?:$|[-_])/i;

/**
 * The nodes of a workflow that spend money elsewhere: those which an object_info marks so; of ComfyUI's own that no
 * object_info here has, because they are newer, those whose class is named as such nodes are; and those of packages
 * that say so by their name.
 *
 * @param packagesOf the packages that a node may come from; none where it may be one of ComfyUI's own.
 */
export function partnerNodes(
  nodes: readonly NodeUse[],
  objectInfo: ObjectInfo,
  packagesOf: (node: NodeUse) => readonly string[],
): PartnerNode[] {
  return nodes.flatMap((node) => {
    const found = partnerOf(node, objectInfo, packagesOf(node));
    return found === undefined ? [] : [{ node: node.id, className: node.type, ...found }];
  });
}

function partnerOf(
  node: NodeUse,
  objectInfo: ObjectInfo,
  packages: readonly string[],
): Pick<PartnerNode, 'partner' | 'statedBy'> | undefined {
  const nodeClass = findClass(objectInfo, node.type);
  if (nodeClass?.api_node === true || nodeClass?.category?.startsWith('api node') === true)
    return { partner: nodeClass.category?.split('/').at(2), statedBy: 'object_info' };
  const services = packages.map((name) => PACKAGE.exec(name.replace(/\.git$/, ''))?.[1]);
  if (services.length > 0)
    return services.includes(undefined) ? undefined : { partner: services[0], statedBy: 'package name' };
  if (nodeClass !== undefined) return undefined;
  const named = [...SERVICES, ...SERVICES_WITH_MODELS].find(([pattern]) => pattern.test(node.type));
  return named === undefined ? undefined : { partner: named[1] || undefined, statedBy: 'class name' };
}
