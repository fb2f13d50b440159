// Who is at the other end of a socket, as logs and handlers see it.
import type { Socket } from "node:net";
import type { Peer } from "./transport.ts";

/** Looks at the socket when asked: before it is connected there is nothing to see, after its end no longer. */
export class SocketPeer implements Peer {
  readonly isEncrypted: boolean;
  readonly #socket: Socket;
  #address: string | undefined;

  /** @param address how the peer is called; the socket's remote address when absent. */
  constructor(socket: Socket, address?: string) {
    this.#socket = socket;
    this.#address = address;
    this.isEncrypted = "encrypted" in socket && socket.encrypted === true;
  }

  get address(): string {
    if (this.#address !== undefined) return this.#address;
    const { remoteAddress, remotePort, remoteFamily, connecting } = this.#socket;
    if (connecting) return "not connected";
    if (remoteAddress === undefined) return "unix:";
    const host = remoteFamily === "IPv6" ? `[${remoteAddress}]` : remoteAddress;
    return (this.#address = `${host}:${remotePort}`);
  }
}
