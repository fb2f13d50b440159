// What a connection speaks, by its first bytes and by what ALPN agreed on.
import type { Socket } from "node:net";

export type Protocol = "tls" | "http2" | "http1" | "unknown";

const PREFACE_START = Buffer.from("PRI ");
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"].map((name) =>
  Buffer.from(`${name} `),
);
/** ContentType handshake of a TLS record (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 22;

/** Reads until it is clear, then hands over what was read and listens no more. Calls back at most once. */
export function sniff(socket: Socket, onKnown: (protocol: Protocol, firstBytes: Buffer) => void): void {
  let first: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    first = first.length === 0 ? chunk : Buffer.concat([first, chunk]);
    const protocol = protocolOf(first);
    if (protocol === undefined) return;
    socket.off("data", onData);
    onKnown(isAgreed(socket, protocol) ? protocol : "unknown", first);
  };
  socket.on("data", onData);
}

/** Undefined while it can be more than one. */
function protocolOf(first: Buffer): Protocol | undefined {
  if (first[0] === TLS_HANDSHAKE) return "tls";
  if (startsLike(first, PREFACE_START)) return first.length < PREFACE_START.length ? undefined : "http2";
  const method = METHODS.find((each) => startsLike(first, each));
  if (method === undefined) return "unknown";
  return first.length < method.length ? undefined : "http1";
}

/** Whether one is the beginning of the other. */
function startsLike(bytes: Buffer, wanted: Buffer): boolean {
  const length = Math.min(bytes.length, wanted.length);
  return bytes.compare(wanted, 0, length, 0, length) === 0;
}

/** Inside of TLS, what ALPN agreed on is binding (RFC 7301 §3.2); a client without ALPN may choose. */
function isAgreed(socket: Socket, protocol: Protocol): boolean {
  const agreed = "alpnProtocol" in socket ? socket.alpnProtocol : undefined;
  if (agreed === "h2") return protocol === "http2";
  return agreed !== "http/1.1" || protocol === "http1";
}
