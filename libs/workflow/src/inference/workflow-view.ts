import { type ApiNode, type ApiWorkflow, isLink, type Link } from '../api-workflow.ts';
import { ancestorsOf, linksOf, outputNodes } from '../graph-queries.ts';
import type { Json } from '../json-value.ts';
import { type DeclaredInput, findClass, inputsOf, type ObjectInfo, outputType } from '../object-info.ts';

/** A constant in a workflow: an input of a node that is no link. */
export interface Place {
  readonly node: string;
  readonly field: string;
}

/** A link of a node, with the type that it carries. */
export interface TypedLink {
  readonly input: string;
  readonly source: string;
  readonly output: number;
  /** Type of the output it comes from; of the input where the output's class says none. */
  readonly type: string;
}

/** A workflow with the classes of its nodes, as the rules of inference ask about it. */
export class WorkflowView {
  readonly workflow: ApiWorkflow;
  readonly #objectInfo: ObjectInfo;
  readonly #alive: ReadonlySet<string>;
  readonly #consumers = new Map<
    string,
    { readonly node: string; readonly input: string; output: number }[]
  >();

  constructor(workflow: ApiWorkflow, objectInfo: ObjectInfo) {
    this.workflow = workflow;
    this.#objectInfo = objectInfo;
    const outputs = outputNodes(workflow, objectInfo);
    this.#alive = outputs.length === 0 ? new Set(Object.keys(workflow)) : ancestorsOf(workflow, outputs);
    for (const id of this.#alive) {
      for (const [input, [source, output]] of linksOf(this.node(id))) {
        const known = this.#consumers.get(source);
        if (known === undefined) this.#consumers.set(source, [{ node: id, input, output }]);
        else known.push({ node: id, input, output });
      }
    }
  }

  /** Ids of the nodes that an output depends on, in the order of the file. */
  get ids(): readonly string[] {
    return Object.keys(this.workflow).filter((id) => this.#alive.has(id));
  }

  node(id: string): ApiNode {
    const found = Object.hasOwn(this.workflow, id) ? this.workflow[id] : undefined;
    return found ?? { class_type: '', inputs: {} };
  }

  classOf(id: string): string {
    return this.node(id).class_type;
  }

  /** The node's own title; `undefined` where it is only the name of its class. */
  titleOf(id: string): string | undefined {
    const { class_type: name, _meta: meta } = this.node(id);
    const title = meta?.title?.trim();
    if (title === undefined || title === '' || title === name) return undefined;
    return title === findClass(this.#objectInfo, name)?.display_name ? undefined : title;
  }

  declared(id: string, field: string): DeclaredInput | undefined {
    return this.declaredInputs(id).find(({ name }) => name === field);
  }

  declaredInputs(id: string): readonly DeclaredInput[] {
    const nodeClass = findClass(this.#objectInfo, this.classOf(id));
    return nodeClass === undefined ? [] : inputsOf(nodeClass);
  }

  outputTypes(id: string): readonly string[] {
    const nodeClass = findClass(this.#objectInfo, this.classOf(id));
    return (nodeClass?.output ?? []).map((type) => (typeof type === 'string' ? type : 'COMBO'));
  }

  /** Name of an output, in lower case; the empty text where the class gives it none. */
  outputName(id: string, output: number): string {
    return findClass(this.#objectInfo, this.classOf(id))?.output_name?.[output]?.toLowerCase() ?? '';
  }

  isOutputNode(id: string): boolean {
    return findClass(this.#objectInfo, this.classOf(id))?.output_node === true;
  }

  /** Whether the class belongs to another company's service, which runs it for money. */
  isPartner(id: string): boolean {
    const nodeClass = findClass(this.#objectInfo, this.classOf(id));
    return nodeClass?.api_node === true || nodeClass?.category?.startsWith('api node') === true;
  }

  links(id: string): TypedLink[] {
    return linksOf(this.node(id)).map(([input, [source, output]]) => {
      const nodeClass = findClass(this.#objectInfo, this.classOf(source));
      const given = nodeClass === undefined ? undefined : outputType(nodeClass, output);
      const type = given === undefined || given === '*' ? this.declared(id, input)?.type : given;
      return { input, source, output, type: type ?? '*' };
    });
  }

  linkAt(id: string, input: string): Link | undefined {
    const value = this.node(id).inputs[input];
    return isLink(value) ? value : undefined;
  }

  /** Where an output of a node goes. */
  consumers(
    id: string,
  ): readonly { readonly node: string; readonly input: string; readonly output: number }[] {
    return this.#consumers.get(id) ?? [];
  }

  /** A constant of a node; `undefined` for a link and where there is none. */
  constant(id: string, field: string): Json | undefined {
    const { inputs } = this.node(id);
    const value = Object.hasOwn(inputs, field) ? inputs[field] : undefined;
    return isLink(value) ? undefined : value;
  }

  /**
   * Where the value of an input is kept: the input itself, or the one value of the node that it is linked to when
   * that node does nothing but hold it (PrimitiveInt, INTConstant, …).
   */
  placeOf(id: string, field: string): Place | undefined {
    let place: Place = { node: id, field };
    for (let step = 0; step < 16; step += 1) {
      const link = this.linkAt(place.node, place.field);
      if (link === undefined) return this.constant(place.node, place.field) === undefined ? undefined : place;
      const [source] = link;
      const fields = Object.keys(this.node(source).inputs);
      const [only] = fields;
      if (fields.length !== 1 || only === undefined || !HOLDS_VALUE.has(this.outputTypes(source)[0] ?? ''))
        return undefined;
      place = { node: source, field: only };
    }
    return undefined;
  }

  valueAt({ node, field }: Place): Json | undefined {
    return this.constant(node, field);
  }
}

/** Types of the values that primitive nodes hold. */
const HOLDS_VALUE = new Set(['INT', 'FLOAT', 'STRING', 'BOOLEAN', 'COMBO', 'NUMBER', '*']);
