// An HTTP client that does what it is told: a connection for each request, over HTTP/1.1 or HTTP/2, with TLS and without; a
// path goes out as it is written, and a request can be cut in the middle.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from "node:http2";
import { request as requestHttps } from "node:https";
import type { Writable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { tlsFixture } from "./tls-fixtures.ts";

export type HttpFields = Readonly<Record<string, string>>;

export interface HttpAnswer {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: HttpFields;
  readonly body: Buffer;
}

export interface HttpWay {
  readonly version: 1 | 2;
  /** By the certificate of `tlsSettings`. Default: no. */
  readonly tls?: boolean;
}

/** One request, while its body is being sent. */
export interface OpenRequest {
  /** Resolves when there is room for more, or when the request is over. */
  write(bytes: Uint8Array): Promise<void>;
  /** There is no more. Resolves with the answer. @throws what cut the connection */
  end(): Promise<HttpAnswer>;
  /** The connection is gone, as if its client had died. */
  cut(): void;
}

export interface HttpClient {
  ask(method: string, path: string, headers?: HttpFields, body?: Uint8Array): Promise<HttpAnswer>;
  open(method: string, path: string, headers?: HttpFields): OpenRequest;
}

/** @param address "127.0.0.1:8080" */
export function createHttpClient(address: string, { version, tls = false }: HttpWay): HttpClient {
  const ca = tls ? readFileSync(tlsFixture("localhost.crt")) : undefined;
  const origin = `${tls ? "https" : "http"}://${address}`;
  const open = (method: string, path: string, headers: HttpFields = {}): OpenRequest =>
    version === 1 ? openHttp1(origin, { method, path, headers }, ca) : openHttp2(origin, { method, path, headers }, ca);
  return {
    open,
    async ask(method, path, headers, body) {
      const length: HttpFields = body === undefined ? {} : { "content-length": String(body.length) };
      const request = open(method, path, { ...length, ...headers });
      if (body !== undefined) await request.write(body);
      return await request.end();
    },
  };
}

interface Head {
  readonly method: string;
  readonly path: string;
  readonly headers: HttpFields;
}

function openHttp1(origin: string, { method, path, headers }: Head, ca: Buffer | undefined): OpenRequest {
  const { hostname, port } = new URL(origin);
  const options = { host: hostname, port, method, path, headers, agent: false as const };
  const request: ClientRequest = ca === undefined ? requestHttp(options) : requestHttps({ ...options, ca });
  const answer = async (): Promise<HttpAnswer> => {
    const [incoming] = (await once(request, "response")) as [IncomingMessage];
    return { status: incoming.statusCode ?? 0, headers: textsOf(incoming.headers), body: await buffer(incoming) };
  };
  return openRequest(request, answer(), () => request.destroy());
}

function openHttp2(origin: string, { method, path, headers }: Head, ca: Buffer | undefined): OpenRequest {
  const session: ClientHttp2Session = connectHttp2(origin, ca === undefined ? {} : { ca });
  session.on("error", () => {});
  const stream: ClientHttp2Stream = session.request(
    { ":method": method, ":path": path, ...headers },
    { endStream: false },
  );
  const answer = async (): Promise<HttpAnswer> => {
    try {
      const [{ ":status": status, ...rest }] = (await once(stream, "response")) as [Record<string, string>];
      return { status: Number(status), headers: textsOf(rest), body: await buffer(stream) };
    } finally {
      session.close();
    }
  };
  return openRequest(stream, answer(), () => session.destroy());
}

/** The answer is read as it comes: it may come before all is sent. */
function openRequest(body: Writable, answer: Promise<HttpAnswer>, cut: () => void): OpenRequest {
  let isOver = false;
  const over = answer.then(
    () => void (isOver = true),
    () => void (isOver = true),
  );
  // What goes wrong is said where the answer is asked for.
  body.on("error", () => {});
  return {
    async write(bytes) {
      if (isOver || body.destroyed || body.write(bytes)) return;
      const room = Promise.withResolvers<void>();
      body.once("drain", room.resolve);
      await Promise.race([room.promise, over]);
      body.off("drain", room.resolve);
    },
    end() {
      body.end();
      return answer;
    },
    cut,
  };
}

function textsOf(headers: Readonly<Record<string, string | number | readonly string[] | undefined>>): HttpFields {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
