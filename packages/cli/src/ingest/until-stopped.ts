/**
 * Resolves with the promise, or as soon as the signal aborts. Leaves nothing at the signal, unlike `Promise.race` with a
 * promise that lives on. @throws what the promise rejects with before the signal aborts.
 */
export async function untilStopped(promise: Promise<void>, stop: AbortSignal): Promise<void> {
  const stopped = Promise.withResolvers<void>();
  const onAbort = (): void => stopped.resolve();
  if (stop.aborted) onAbort();
  stop.addEventListener("abort", onAbort, { once: true });
  try {
    // A rejection that comes too late is heard of by the race itself.
    await Promise.race([promise, stopped.promise]);
  } finally {
    stop.removeEventListener("abort", onAbort);
  }
}
