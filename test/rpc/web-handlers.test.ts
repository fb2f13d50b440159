// Plain HTTP handlers: the same over HTTP/1.1 and HTTP/2.
import { createHash } from "node:crypto";
import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import {
  Code,
  createServer,
  listen,
  retryAfter,
  RpcError,
  type HttpHandlers,
  type HttpRequest,
  type Listener,
  type WebOptions,
} from "@sluice/rpc";
import { describe, expect, test } from "vitest";

interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

interface Sent {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
}

type Send = (listener: Listener, path: string, sent?: Sent) => Promise<Answer>;

async function sendHttp1({ address }: Listener, path: string, { method = "GET", headers, body }: Sent = {}) {
  const init = { method, ...(headers && { headers }), ...(body !== undefined && { body }) };
  const response = await fetch(`http://${address}${path}`, init);
  return {
    status: response.status,
    headers: new Map(response.headers),
    body: Buffer.from(await response.arrayBuffer()),
  };
}

async function sendHttp2({ address }: Listener, path: string, { method = "GET", headers, body }: Sent = {}) {
  const session = connectHttp2(`http://${address}`);
  const closed = new Promise<void>((resolve) => session.once("close", () => resolve()));
  try {
    const stream = session.request({ ":method": method, ":path": path, ...headers });
    const response = new Promise<Record<string, unknown>>((resolve, reject) => {
      stream.once("response", resolve).once("error", reject);
    });
    stream.end(body);
    const fields = await response;
    const entries = Object.entries(fields).map(([name, value]) => [name, String(value)] as const);
    return {
      status: Number(fields[":status"]),
      headers: new Map(entries),
      body: Buffer.concat((await Array.fromAsync(stream)) as Buffer[]),
    };
  } finally {
    session.close();
    await closed;
  }
}

function serveHandlers(handlers: HttpHandlers, web: WebOptions = {}) {
  return listen(createServer({ services: [] }), { web: { handlers, ...web } });
}

describe.each<[string, Send]>([
  ["HTTP/1.1", sendHttp1],
  ["HTTP/2", sendHttp2],
])("over %s", (_name, send) => {
  test("a handler sees the request, and its answer arrives", async () => {
    const seen: Partial<HttpRequest>[] = [];
    await using listener = await serveHandlers({
      "/a b": () => ({ status: 500 }),
      "/hello": async (request) => {
        const { method, path } = request;
        seen.push({ method, path });
        const text = Buffer.concat(await Array.fromAsync(request.body)).toString();
        const body = `${text} ${request.query.get("q")} ${request.headers.get("x-two")} ${request.headers.get("host")}`;
        return { status: 201, headers: { "content-type": "text/x", "x-list": ["1", "2"] }, body };
      },
    });
    const answer = await send(listener, "/hello?q=%C3%A4", { method: "PUT", headers: { "x-two": "b" }, body: "body" });
    expect(answer.status).toBe(201);
    expect(answer.body.toString()).toBe(`body ä b ${listener.address}`);
    expect(answer.headers.get("content-type")).toBe("text/x");
    expect(answer.headers.get("x-list")).toMatch(/^1, ?2|1,2$/);
    expect(answer.headers.get("content-length")).toBe(String(answer.body.length));
    expect(seen).toEqual([{ method: "PUT", path: "/hello" }]);
  });

  test("the longest path that ends in a slash serves what is below it", async () => {
    const say = (body: string) => () => ({ status: 200, body });
    await using listener = await serveHandlers({ "/": say("root"), "/files/": say("files"), "/files/one": say("one") });
    const bodies = await Promise.all(
      ["/", "/x", "/files/", "/files/%2Fx", "/files/one", "/files"].map(async (path) =>
        String((await send(listener, path)).body),
      ),
    );
    expect(bodies).toEqual(["root", "root", "files", "files", "one", "root"]);
  });

  test("HEAD is GET without the body", async () => {
    const methods: [string, boolean][] = [];
    await using listener = await serveHandlers({
      "/x": ({ method, isHead }) => {
        methods.push([method, isHead]);
        return { status: 200, body: "12345" };
      },
    });
    const answer = await send(listener, "/x", { method: "HEAD" });
    expect([answer.status, answer.headers.get("content-length"), answer.body.length]).toEqual([200, "5", 0]);
    await send(listener, "/x");
    expect(methods).toEqual([
      ["GET", true],
      ["GET", false],
    ]);
  });

  test("a body is pulled at the reader's pace and arrives whole", async () => {
    await using listener = await serveHandlers({
      "/big": () => ({
        status: 200,
        body: (async function* () {
          for (let at = 0; at < 64; at++) yield Buffer.alloc(100_000, at);
        })(),
      }),
    });
    const { body } = await send(listener, "/big");
    expect(body.length).toBe(6_400_000);
    expect(body.every((byte, at) => byte === Math.floor(at / 100_000))).toBe(true);
  });

  test("an upload flows through, and one that nobody reads is no harm", async () => {
    await using listener = await serveHandlers({
      "/read": async ({ body }) => {
        const chunks: Uint8Array[] = [];
        for await (const chunk of body) chunks.push(chunk);
        return { status: 200, body: createHash("sha256").update(Buffer.concat(chunks)).digest("hex") };
      },
      "/part": async ({ body }) => {
        for await (const _chunk of body) break;
        return { status: 413 };
      },
    });
    const body = new Uint8Array(5_000_000).map((_, at) => at * 31 + (at >> 8));
    await expect(send(listener, "/read", { method: "POST", body })).resolves.toMatchObject({
      body: Buffer.from(createHash("sha256").update(body).digest("hex")),
    });
    await expect(send(listener, "/part", { method: "POST", body })).resolves.toMatchObject({ status: 413 });
  });

  test("what a handler throws becomes a status; what nobody foresaw stays here", async () => {
    const errors: unknown[] = [];
    const unforeseen = new Error("secret");
    await using listener = await serveHandlers(
      {
        "/denied": () => {
          throw new RpcError(Code.PERMISSION_DENIED, "no");
        },
        "/later": () => Promise.reject(new RpcError(Code.UNAVAILABLE, "later", { details: [retryAfter(1500)] })),
        "/mapped": () => Promise.reject(new RangeError("mine")),
        "/broken": () => Promise.reject(unforeseen),
        "/header": () => ({ status: 200, headers: { "x-y": "a\r\nset-cookie: b" } }),
        "/hop": () => ({ status: 200, headers: { "transfer-encoding": "chunked" } }),
      },
      {
        onError: (error) => errors.push(error),
        mapError: (error) => (error instanceof RangeError ? new RpcError(Code.NOT_FOUND, error.message) : undefined),
      },
    );
    const of = async (path: string) => {
      const { status, body } = await send(listener, path);
      return [status, body.toString()];
    };
    await expect(of("/denied")).resolves.toEqual([403, "no\n"]);
    expect((await send(listener, "/later")).headers.get("retry-after")).toBe("2");
    await expect(of("/mapped")).resolves.toEqual([404, "mine\n"]);
    const hidden = [500, "The server failed to answer; its log says why\n"];
    await expect(of("/broken")).resolves.toEqual(hidden);
    await expect(of("/header")).resolves.toEqual(hidden);
    await expect(of("/hop")).resolves.toEqual(hidden);
    expect(errors).toEqual([unforeseen, expect.any(TypeError), expect.any(TypeError)]);
  });

  test("a body that fails half-way breaks the answer off", async () => {
    const errors: unknown[] = [];
    await using listener = await serveHandlers(
      {
        "/x": () => ({
          status: 200,
          headers: { "content-length": "10" },
          body: (async function* () {
            yield Buffer.from("12345");
            throw new Error("disk");
          })(),
        }),
      },
      { onError: (error) => errors.push(error) },
    );
    await expect(send(listener, "/x")).rejects.toThrow(/terminated|fetch failed|INTERNAL_ERROR/i);
    expect(errors).toMatchObject([{ message: "disk" }]);
  });
});

test("a client that goes away ends the handler's signal and its body, and the body it was sending", async () => {
  const events: string[] = [];
  await using listener = await serveHandlers({
    "/endless": ({ signal }) => {
      signal.addEventListener("abort", () => events.push("signal"));
      return {
        status: 200,
        body: (async function* () {
          try {
            for (;;) yield Buffer.alloc(50_000);
          } finally {
            events.push("body");
          }
        })(),
      };
    },
    "/upload": async ({ body }) => {
      await Array.fromAsync(body).catch((error: unknown) => events.push((error as Error).name));
      return { status: 200 };
    },
  });
  for (const head of ["GET /endless HTTP/1.1", "POST /upload HTTP/1.1\r\ncontent-length: 10"]) {
    const socket = connect({ host: "127.0.0.1", port: listener.port });
    socket.write(`${head}\r\nhost: x\r\n\r\n123`);
    if (head.startsWith("GET")) await new Promise<void>((resolve) => socket.once("data", () => resolve()));
    else await expect.poll(() => listener.connections).toBe(1);
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.destroy();
    await closed;
    await expect.poll(() => listener.connections).toBe(0);
  }
  await expect.poll(() => events.toSorted()).toEqual(["AbortError", "body", "signal"]);
});

test("a client that sends on behind the answer is heard out, also where the connection ends with it", async () => {
  await using listener = await serveHandlers({ "/x": () => ({ status: 409, body: "no" }) });
  const socket = connect({ host: "127.0.0.1", port: listener.port, allowHalfOpen: true });
  const body = Buffer.alloc(1_000_000);
  socket.write(`POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${2 * body.length}\r\n\r\n`);
  socket.write(body);
  const ended = new Promise<void>((resolve) => socket.once("end", resolve));
  let answer = "";
  socket.on("data", (chunk: Buffer) => void (answer += chunk.toString()));
  await ended;
  expect(answer).toMatch(/^HTTP\/1\.1 409 .*no$/su);
  const closed = new Promise<boolean>((resolve) => socket.once("close", resolve));
  socket.end(body);
  expect(await closed).toBe(false);
  await expect.poll(() => listener.connections).toBe(0);
});

test("a path without a slash in front is refused at once", async () => {
  await expect(serveHandlers({ healthz: () => ({ status: 200 }) })).rejects.toThrow('Cannot serve "healthz"');
});
