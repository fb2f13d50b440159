// Programs that others wrote and our suites run: at pinned versions, in the ignored folder `.cache/`.

export type Tool =
  | { readonly kind: "ready"; readonly path: string }
  | { readonly kind: "missing"; readonly reason: string };

export interface FindOptions {
  /** Fetch and build what is not there yet. */
  readonly mayFetch: boolean;
}

/** What a test suite does on its own: only where the full run was asked for it may fetch. */
export const mayFetch: boolean = process.env["SLUICE_SUITE"] === "full";

/** How to get what is missing. */
export const HOW_TO_INSTALL = "run node --conditions=sluice-source test/tools/install.ts";
