// A clock that all threads of a process share: `performance.now()` begins anew in each of them.

const NS_PER_MS = 1e6;

export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / NS_PER_MS;
}
