// What the thread that gathers marks is told, and what it answers.

/** One segment after the other: begin, pieces, finish. Each order has its answer, in order. */
export type FilterOrder =
  | { readonly kind: "begin"; readonly frameBytes: number }
  /** Whole frames; their memory goes to the thread. */
  | { readonly kind: "piece"; readonly frames: Uint8Array<ArrayBuffer> }
  | { readonly kind: "finish" }
  /** The segment is given up. */
  | { readonly kind: "drop" };

export type FilterAnswer =
  | { readonly kind: "taken" }
  /** The blocks of the filter; their memory goes to the server. */
  | { readonly kind: "made"; readonly blocks: Uint8Array<ArrayBuffer> };
