// Preloaded into a server on Node (--expose-gc --import): on SIGUSR2 it collects garbage and prints what is in use, so
// that what a thousand idle followers hold can be told from garbage, and what V8 has allocated on its heap so far.

import { getHeapStatistics } from "node:v8";

process.on("SIGUSR2", () => {
  const allocated = getHeapStatistics().total_allocated_bytes;
  // Twice: what the first round's finalizers let go is free only after the second.
  globalThis.gc?.();
  setImmediate(() => {
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    process.stderr.write(`memory ${heapUsed + external} ${rss} ${allocated}\n`);
  });
});
