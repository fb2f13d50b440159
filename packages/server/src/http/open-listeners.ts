// The addresses that are served: who may reach them, what they speak, and what is said when one cannot be had.
import {
  type ConnectionLife,
  type Http1Limits,
  type Http2Limits,
  type Listener,
  ListenError,
  listen,
  type ListenOptions,
  type RpcServer,
} from "@sluice/rpc";
import { SluiceError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { ExposedListen, isLoopback, resolveListenAddress } from "../security/exposure.ts";
import type { Clock } from "../store/contract.ts";
import type { Certificates } from "./certificates.ts";

/** Where to listen: an address, a Unix socket, or the sockets that systemd passed (LISTEN_FDS). */
export type ListenPlace =
  | { readonly kind: "address"; readonly address: { readonly host: string; readonly port: number } }
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "systemd" };

export interface ListenersOptions {
  readonly listen: readonly ListenPlace[];
  /** See `resolveListenAddress`; whoever needs a certificate has said who they are. */
  readonly insecureListen: boolean;
  /** Permissions of Unix sockets. */
  readonly socketMode: number;
  readonly allowPlaintext: boolean;
  /** undefined: no TLS. */
  readonly certificates: Certificates | undefined;
  readonly web: NonNullable<ListenOptions["web"]>;
  readonly limits: Pick<Limits, "connectionsMax" | "callsPerConnectionMax">;
  readonly connections: ConnectionLife;
  readonly http2: Partial<Http2Limits>;
  readonly http1: Partial<Http1Limits>;
  readonly clock: Clock;
  /** Where systemd says what it passed. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The port is another program's. To recover: stop that, or choose another. */
export class PortInUse extends SluiceError {
  override readonly name = "PortInUse";
  constructor(message: string, options: ErrorOptions) {
    super("failed-precondition", message, { reason: "PORT_IN_USE" }, options);
  }
}

/** The first descriptor that systemd passes (sd_listen_fds(3)). */
const LISTEN_FDS_START = 3;

/**
 * Serves on all of them, or on none. A renewed certificate is taken up by those that are open.
 * @throws ExposedListen, PortInUse, or a SluiceError that says why one cannot be listened on.
 */
export async function openListeners(server: RpcServer, options: ListenersOptions): Promise<readonly Listener[]> {
  const { certificates } = options;
  const listeners: Listener[] = [];
  const secured: Listener[] = [];
  await using opened = new AsyncDisposableStack();
  for (const place of options.listen) {
    for (const at of await resolvePlace(place, options)) {
      const listener = opened.use(await open(server, at, options));
      checkExposure(listener, options);
      listeners.push(listener);
      if (tlsAt(at, options) !== undefined) secured.push(listener);
    }
  }
  certificates?.watch((tls) => {
    for (const listener of secured) listener.setTls(tls);
  });
  opened.move();
  return listeners;
}

type At = Pick<ListenOptions, "host" | "port" | "path" | "mode" | "fd">;

async function resolvePlace(place: ListenPlace, options: ListenersOptions): Promise<readonly At[]> {
  switch (place.kind) {
    case "address": {
      const { host, port } = place.address;
      return [{ host: await resolveListenAddress(host, { insecureListen: isOpenToAll(options) }), port }];
    }
    case "unix":
      return [{ path: place.path, mode: options.socketMode }];
    case "systemd":
      return passedSockets(options.environment).map((fd) => ({ fd }));
  }
}

/** Whether others may reach it: they were told so, or have to show a certificate. */
function isOpenToAll({ insecureListen, certificates, allowPlaintext }: ListenersOptions): boolean {
  return insecureListen || (certificates?.tls.requestCert === true && !allowPlaintext);
}

/** A socket that was passed is looked at when it is open: only then its address is known. */
function checkExposure({ address }: Listener, options: ListenersOptions): void {
  if (isOpenToAll(options) || address.startsWith("unix:")) return;
  const host = address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/u, "$1");
  if (!isLoopback(host)) throw new ExposedListen(host);
}

/** Descriptors of listening sockets that this process was given. @throws SluiceError when there is none. */
function passedSockets({ LISTEN_FDS, LISTEN_PID }: ListenersOptions["environment"]): number[] {
  const count = Number(LISTEN_FDS ?? 0);
  const isOurs = LISTEN_PID === undefined || LISTEN_PID === String(process.pid);
  if (isOurs && Number.isSafeInteger(count) && count > 0) {
    return Array.from({ length: count }, (_, at) => LISTEN_FDS_START + at);
  }
  const why = count > 0 ? `LISTEN_PID is ${LISTEN_PID}, this is ${process.pid}` : "LISTEN_FDS names none";
  const message = `Cannot listen on sockets of systemd: ${why}; start the service by its socket unit, or give an address`;
  throw new SluiceError("failed-precondition", message, { reason: "CANNOT_LISTEN" });
}

/** A Unix socket of ours never leaves the machine: TLS would only keep its users from it. */
function tlsAt(at: At, { certificates }: ListenersOptions): ListenOptions["tls"] {
  return at.path === undefined ? certificates?.tls : undefined;
}

async function open(server: RpcServer, at: At, options: ListenersOptions): Promise<Listener> {
  const { allowPlaintext, web, limits, connections, http2, http1, clock } = options;
  const tls = tlsAt(at, options);
  try {
    return await listen(server, {
      ...at,
      ...(tls === undefined ? {} : { tls, allowPlaintext }),
      web,
      connectionsMax: limits.connectionsMax,
      http2: { ...connections, limits: { ...http2, concurrentStreamsMax: limits.callsPerConnectionMax } },
      http1,
      clock,
    });
  } catch (error) {
    throw explainListen(error);
  }
}

/** What is thrown for an address that cannot be listened on. */
export function explainListen(error: unknown): unknown {
  if (!(error instanceof ListenError)) return error;
  if (error.code === "EADDRINUSE") return new PortInUse(error.message, { cause: error });
  return new SluiceError("failed-precondition", error.message, { reason: "CANNOT_LISTEN" }, { cause: error });
}
