import { findClass, type ObjectInfo } from '../object-info.ts';
import type { NodeUse } from './node-use.ts';

/** A node that asks another company's service, and spends the caller's credits there. */
export interface PartnerNode {
  readonly node: string;
  readonly className: string;
  /** The company, as the page's menu names it. */
  readonly partner: string | undefined;
}

/** The nodes of a workflow that spend money elsewhere: those which an object_info marks so. */
export function partnerNodes(nodes: readonly NodeUse[], objectInfo: ObjectInfo): PartnerNode[] {
  return nodes.flatMap((node) => {
    const nodeClass = findClass(objectInfo, node.type);
    const isPartner = nodeClass?.api_node === true || nodeClass?.category?.startsWith('api node/') === true;
    if (nodeClass === undefined || !isPartner) return [];
    return [{ node: node.id, className: node.type, partner: nodeClass.category?.split('/').at(2) }];
  });
}
