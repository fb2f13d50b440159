// Timers below JavaScript: what watches the delay of the event loop is one, and nothing else tells of it.

interface Report {
  readonly libuv: readonly { readonly type: string; readonly is_active: boolean; readonly is_referenced?: boolean }[];
}

/** Those that run and do not keep the process alive. */
export function nativeTimers(): number {
  const { libuv } = process.report.getReport() as unknown as Report;
  return libuv.filter((handle) => handle.type === "timer" && handle.is_active && handle.is_referenced === false).length;
}
