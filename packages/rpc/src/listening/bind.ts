// Where a server listens: host and port, a Unix socket, or a socket that somebody else has opened.
//
// B1. A Unix socket's file that a dead process left is removed; one that somebody answers at is not.
import { chmodSync, existsSync, lstatSync, unlinkSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { dirname } from "node:path";

/** One address: host and port, a Unix socket's path, or a socket that was handed in. */
export interface ListenAddress {
  /** Default 127.0.0.1: a server without authentication must not be reachable by accident. */
  readonly host?: string;
  /** 0 (the default) picks a free one: see `Listener.address`. */
  readonly port?: number;
  /** Several processes may listen on the port, and the kernel shares the connections out. Linux and BSDs only. */
  readonly reusePort?: boolean;
  /** A Unix socket instead of host and port. */
  readonly path?: string;
  /** Permissions of the Unix socket's file: who may connect. Default 0o600, this user alone. */
  readonly mode?: number;
  /** A listening socket that this process was given (systemd's LISTEN_FDS: from 3 on) instead of all of these. */
  readonly fd?: number;
}

export interface Binding {
  readonly net: Server;
  readonly address: string;
  /** 0 for a Unix socket. */
  readonly port: number;
}

/** The address cannot be listened on. To recover: choose another, or stop who has it. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  /** Node's code: EADDRINUSE, EACCES, EADDRNOTAVAIL, …. */
  readonly code: string;

  constructor(message: string, code: string, options: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const DEFAULT_MODE = 0o600;
/** `sun_path` of Linux without its final zero; 103 elsewhere. */
const PATH_BYTES_MAX = process.platform === "linux" ? 107 : 103;

/** Listens. @throws ListenError */
export async function bind(onSocket: (socket: Socket) => void, wanted: ListenAddress): Promise<Binding> {
  const name = nameOf(wanted);
  try {
    return await open(onSocket, wanted, name);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const { path } = wanted;
    if (code !== "EADDRINUSE" || path === undefined || !(await isStale(path))) throw listenError(wanted, error);
    unlinkSync(path); // B1
    return open(onSocket, wanted, name).catch((again: unknown) => Promise.reject(listenError(wanted, again)));
  }
}

function open(onSocket: (socket: Socket) => void, wanted: ListenAddress, name: string): Promise<Binding> {
  const { host = "127.0.0.1", port = 0, reusePort = false, path, mode = DEFAULT_MODE, fd } = wanted;
  const net = createServer({ noDelay: true }, onSocket);
  return new Promise((resolve, reject) => {
    net.once("error", reject);
    const onListening = (): void => {
      net.off("error", reject);
      resolve({ net, ...boundTo(net, name) });
    };
    if (fd !== undefined) net.listen({ fd }, onListening);
    else if (path === undefined) net.listen({ host, port, reusePort }, onListening);
    else {
      net.listen({ path }, onListening);
      // Listening has begun by now: a usual umask lets nobody else in before this.
      if (net.listening) chmodSync(path, mode);
    }
  });
}

function nameOf({ host = "127.0.0.1", port = 0, path, fd }: ListenAddress): string {
  if (fd !== undefined) return `file descriptor ${fd}`;
  return path === undefined ? `${host}:${port}` : `unix:${path}`;
}

function boundTo(net: Server, name: string): { address: string; port: number } {
  const bound = net.address();
  if (bound === null) return { address: name, port: 0 };
  if (typeof bound === "string") return { address: `unix:${bound}`, port: 0 };
  return { address: hostAndPort(bound), port: bound.port };
}

/** Whether there is a socket's file at which nobody answers. */
async function isStale(path: string): Promise<boolean> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() !== true) return false;
  const socket = connect({ path });
  const code = await new Promise<string | undefined>((resolve) => {
    socket.once("connect", () => resolve(undefined));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  socket.destroy();
  return code === "ECONNREFUSED";
}

function hostAndPort({ address, family, port }: AddressInfo): string {
  return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program listens there; stop it or choose another address",
  EACCES: "this user may not; choose a port above 1023",
  EADDRNOTAVAIL: "this machine has no such address",
  ENOTFOUND: "no such host",
  EBADF: "nobody has opened it for this process",
  EINVAL: "it is no listening socket",
};

function listenError(wanted: ListenAddress, error: unknown): ListenError {
  const { code = "", message } = error as NodeJS.ErrnoException;
  const reason = (wanted.path === undefined ? undefined : pathReason(wanted.path, code)) ?? REASONS[code] ?? message;
  return new ListenError(`Cannot listen on ${nameOf(wanted)}: ${reason}`, code, { cause: error });
}

/** What the system's code means for a Unix socket; a folder that is missing is EACCES, too. */
function pathReason(path: string, code: string): string | undefined {
  const folder = dirname(path);
  if (code === "EACCES" && existsSync(folder)) return `this user may not write to ${folder}; choose another folder`;
  if (code === "EACCES") return `there is no folder ${folder}; make it, or choose another`;
  if (code === "EINVAL") return `the path of a socket has at most ${PATH_BYTES_MAX} bytes; choose a shorter one`;
  const file = code === "EADDRINUSE" ? lstatSync(path, { throwIfNoEntry: false }) : undefined;
  return file?.isSocket() === false ? "a file that is no socket is there; remove it or choose another path" : undefined;
}
