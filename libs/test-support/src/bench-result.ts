/** One line of `npm run bench`: a figure of ours beside a peer's. A ratio above 1 means that ours is the larger one. */
export interface BenchResult {
  readonly name: string;
  readonly ours: number;
  readonly peer: number;
  readonly peerName: string;
  readonly ratio: number;
  /** Of both figures, such as `ms`. */
  readonly unit: string;
}
