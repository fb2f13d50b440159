// Turns of the event loop for others. A generator that always has something ready is driven by promises alone, and
// between promises nothing else runs: no read, no timer, no cancel of that very generator. 200 such streams held a
// server for seconds (`test/abuse/cancels.test.ts`). So all generators of the process share an allowance for each turn.

/** What may be sent in a turn: at most 512 messages, so that nobody waits long, and a turn is shared by many of them. */
const ALLOWANCE_BYTES = 256 * 1024;
/** What a message costs besides its bytes. */
const MESSAGE_BYTES = 512;

let spentBytes = 0;
let nextTurn: Promise<void> | undefined;

/** A message was sent. @returns what to wait for before the next one, when this turn's allowance is used up */
export function spendTurn(byteCount: number): Promise<void> | undefined {
  spentBytes += byteCount + MESSAGE_BYTES;
  if (spentBytes < ALLOWANCE_BYTES) return undefined;
  return (nextTurn ??= new Promise((resolve) => {
    setImmediate(() => {
      spentBytes = 0;
      nextTurn = undefined;
      resolve();
    });
  }));
}
