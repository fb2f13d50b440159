// The one port: who may reach it, and what is said when it cannot be had.
import { type Listener, ListenError, listen, type RpcServer } from "@sluice/rpc";
import { SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { resolveListenAddress } from "../security/exposure.ts";
import type { Clock } from "../store/contract.ts";

export interface PortOptions {
  readonly listen: { readonly host: string; readonly port: number };
  /** See `resolveListenAddress`. */
  readonly insecureListen: boolean;
  readonly limits: Pick<Limits, "connectionsMax" | "callsPerConnectionMax">;
  readonly clock: Clock;
}

/** The port is another program's. To recover: stop that, or choose another. */
export class PortInUse extends SluiceError {
  override readonly name = "PortInUse";
  constructor(message: string, options: ErrorOptions) {
    super("failed-precondition", message, { reason: "PORT_IN_USE" }, options);
  }
}

/** Serves on the port. @throws ExposedListen, PortInUse, or a SluiceError that says why it cannot be listened on. */
export async function openListener(server: RpcServer, options: PortOptions): Promise<Listener> {
  const { listen: wanted, insecureListen, limits, clock } = options;
  const host = await resolveListenAddress(wanted.host, { insecureListen });
  try {
    return await listen(server, {
      host,
      port: wanted.port,
      connectionsMax: limits.connectionsMax,
      http2: { limits: { concurrentStreamsMax: limits.callsPerConnectionMax } },
      clock,
    });
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    if (error.code === "EADDRINUSE") throw new PortInUse(error.message, { cause: error });
    throw new SluiceError("failed-precondition", error.message, { reason: "CANNOT_LISTEN" }, { cause: error });
  }
}
