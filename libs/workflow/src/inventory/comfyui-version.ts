import { findClass } from '../object-info.ts';
import { type ClassKnowledge, isCoreNode } from './custom-nodes.ts';
import type { NodeUse } from './node-use.ts';
import { compareVersions, isVersion } from './version-order.ts';

/** The ComfyUI that a workflow needs. */
export interface ComfyuiVersion {
  /** The oldest version that is known to run it; `undefined` where neither the file nor the catalogue tells. */
  readonly version: string | undefined;
  /** Classes of ComfyUI itself that the catalogue lacks: they are newer than it. */
  readonly newerClasses: readonly string[];
  readonly why: string;
}

/**
 * The version of ComfyUI that a workflow needs: the catalogue's where it has every class of ComfyUI itself, else the
 * highest version that the nodes of the lacking classes were saved with.
 */
export function comfyuiVersion(nodes: readonly NodeUse[], knowledge: ClassKnowledge): ComfyuiVersion {
  const { core, coreVersion } = knowledge;
  const newer = nodes.filter(
    (node) => isCoreNode(node, knowledge) && findClass(core, node.type) === undefined,
  );
  const newerClasses = [...new Set(newer.map(({ type }) => type))].sort();
  if (newer.length === 0) {
    return { version: coreVersion, newerClasses, why: `ComfyUI ${coreVersion} has all its classes.` };
  }
  const versions = newer.flatMap(({ version }) => (isVersion(version) ? [version] : []));
  const highest = versions.sort(compareVersions).at(-1);
  const list = newerClasses.join(', ');
  return highest === undefined
    ? {
        version: undefined,
        newerClasses,
        why: `ComfyUI ${coreVersion} lacks ${list}, and the file names no version.`,
      }
    : {
        version: highest,
        newerClasses,
        why: `ComfyUI ${coreVersion} lacks ${list}; they were saved with ${highest}.`,
      };
}
