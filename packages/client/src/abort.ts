// Linking of abort signals, with an end to the link: `AbortSignal.any` keeps its sources' listeners for as long as they live.

/** Aborts `controller` with the reason of the first of `signals` that aborts. Returns how to end that. */
export function abortWith(controller: AbortController, signals: readonly (AbortSignal | undefined)[]): () => void {
  const unlinks: (() => void)[] = [];
  for (const signal of signals) {
    if (signal === undefined) continue;
    const listener = (): void => controller.abort(signal.reason);
    if (signal.aborted) listener();
    signal.addEventListener("abort", listener, { once: true });
    unlinks.push(() => signal.removeEventListener("abort", listener));
  }
  return () => unlinks.forEach((unlink) => unlink());
}

/** Resolves when it aborts; at once when it has. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
