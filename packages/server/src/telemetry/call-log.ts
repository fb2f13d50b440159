// One line per call in the server's own log, at level debug. Below that level nothing is observed, and it costs nothing.
import { codeName, type Observe } from "@sluice/rpc";
import type { Logger } from "./logger.ts";

/** An observer for the RPC server; undefined: nobody would read what it says. */
export function createCallLog(logger: Logger): Observe | undefined {
  if (!logger.isLevelEnabled("debug")) return undefined;
  return ({ method, peer }) => ({
    ended(code, durationMs) {
      const name = `${method.parent.typeName}/${method.name}`;
      logger.debug(
        { event: "call", method: name, peer: peer.address, code: codeName(code), durationMs: Math.round(durationMs) },
        "a call ended",
      );
    },
  });
}
