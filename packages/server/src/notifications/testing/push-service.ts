// A push service on this machine, and the browser behind it: it keeps what is posted, and decrypts it by RFC 8291 and 8188 as
// they are written, with nothing of the library that encrypts. Also a web server that hears of webhooks.
import { createDecipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

export interface Posted {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers each POST with the next of `answers`, then with 201. */
export class PostReceiver implements AsyncDisposable {
  readonly posted: Posted[] = [];
  readonly answers: { status: number; headers?: Record<string, string>; body?: string }[] = [];
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(): Promise<PostReceiver> {
    const server = createServer();
    const receiver = new PostReceiver(server);
    server.on("request", (request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => {
        const { url: path = "", headers } = request;
        receiver.posted.push({ path, headers, body: Buffer.concat(pieces) });
        const { status, headers: own = {}, body = "" } = receiver.answers.shift() ?? { status: 201 };
        response.writeHead(status, own).end(body);
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return receiver;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** The keys of a subscription, and what only their owner can read. */
export class Browser {
  readonly #ecdh = createECDH("prime256v1");
  readonly #auth = randomBytes(16);

  constructor() {
    this.#ecdh.generateKeys();
  }

  subscription(endpoint: string) {
    return {
      endpoint,
      p256dh: this.#ecdh.getPublicKey().toString("base64url"),
      auth: this.#auth.toString("base64url"),
    };
  }

  /** RFC 8188 (aes128gcm, one record) with the keys of RFC 8291, 3.4. */
  decrypt(body: Buffer): string {
    const salt = body.subarray(0, 16);
    const idLength = body[20]!;
    const sender = body.subarray(21, 21 + idLength);
    const sealed = body.subarray(21 + idLength);
    const shared = this.#ecdh.computeSecret(sender);
    const info = Buffer.concat([Buffer.from("WebPush: info\0"), this.#ecdh.getPublicKey(), sender]);
    const input = Buffer.from(hkdfSync("sha256", shared, this.#auth, info, 32));
    const key = Buffer.from(hkdfSync("sha256", input, salt, "Content-Encoding: aes128gcm\0", 16));
    const nonce = Buffer.from(hkdfSync("sha256", input, salt, "Content-Encoding: nonce\0", 12));
    const decipher = createDecipheriv("aes-128-gcm", key, nonce);
    decipher.setAuthTag(sealed.subarray(-16));
    const padded = Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
    // The last record ends with a 2, then zeros.
    const end = padded.lastIndexOf(2);
    return padded.subarray(0, end).toString("utf8");
  }
}
