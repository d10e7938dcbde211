/** What a caller sets with an input. */
export type InputKind =
  | 'prompt'
  | 'negativePrompt'
  | 'seed'
  | 'steps'
  | 'cfg'
  | 'size'
  | 'batch'
  | 'length'
  | 'image'
  | 'mask'
  | 'video'
  | 'audio'
  | 'strength'
  | 'model'
  /** Named by a marker in a node's title, and of no kind that is known here. */
  | 'marked';

/** A constant of the workflow that a caller would want to set. */
export interface Candidate {
  readonly kind: InputKind;
  readonly node: string;
  readonly field: string;
  /** One sentence: by what rule it was found. */
  readonly why: string;
  /** Name to begin with, in camelCase; one that is taken gets the title or a number added. */
  readonly name: string;
}
