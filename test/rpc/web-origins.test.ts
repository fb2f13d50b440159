// Pages of other origins: preflight, exposed headers, refusals.
import { request } from "node:http";
import { Code, createServer, listen, RpcError, serve, type Listener, type WebOptions } from "@sluice/rpc";
import { expect, test } from "vitest";
import { EchoService } from "./gen/echo_pb.ts";
import { echoHandlers } from "./support.ts";

const PAGE = "https://console.example";

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

/** Not `fetch`, which decides itself about `host` and `origin`. */
function send({ port }: Listener, method: string, path: string, headers: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, method, path, headers, agent: false }, (response) => {
      let body = "";
      response.setEncoding("latin1").on("data", (chunk: string) => (body += chunk));
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    sent.on("error", reject).end(method === "POST" ? Buffer.alloc(5) : undefined);
  });
}

function start(web: WebOptions) {
  const handlers = {
    ...echoHandlers,
    echo: () => {
      throw new RpcError(Code.ABORTED, "no");
    },
  };
  return listen(createServer({ services: [serve(EchoService, handlers)] }), { web });
}

const CALL = `/${EchoService.typeName}/Count`;
const WEB = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" };

test("a listed page may ask, call and read", async () => {
  await using listener = await start({
    origins: [PAGE],
    handlers: { "/x": () => ({ status: 200, headers: { etag: "1" } }) },
  });
  const preflight = await send(listener, "OPTIONS", CALL, {
    origin: PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "content-type,x-grpc-web",
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers).toMatchObject({
    "access-control-allow-origin": PAGE,
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "content-type,x-grpc-web",
    "access-control-max-age": "7200",
    vary: "origin",
  });
  expect(preflight.headers).not.toHaveProperty("access-control-allow-credentials");
  const call = await send(listener, "POST", CALL, { origin: PAGE, ...WEB });
  expect(call.body).toContain("grpc-status: 0");
  expect(call.headers).toMatchObject({
    "access-control-allow-origin": PAGE,
    "access-control-expose-headers": "grpc-status, grpc-message, grpc-status-details-bin",
    vary: "origin",
  });
  const plain = await send(listener, "GET", "/x", { origin: PAGE });
  expect(plain.headers).toMatchObject({ "access-control-expose-headers": "etag, content-length" });
});

test("a preflight that asks with anything but names is refused: it could not be answered", async () => {
  await using listener = await start({ origins: [PAGE] });
  const ask = (method: string, headers: string) =>
    send(listener, "OPTIONS", CALL, {
      origin: PAGE,
      "access-control-request-method": method,
      "access-control-request-headers": headers,
    });
  expect((await ask("POST", "content-type, x-a")).status).toBe(204);
  expect((await ask("P\u00e9ST", "content-type")).status).toBe(400);
  expect((await ask("POST", "content-type; q")).status).toBe(400);
});

test("credentials are for those who want them, and never come with a star", async () => {
  await using listener = await start({ origins: [PAGE], allowCredentials: true });
  const call = await send(listener, "POST", CALL, { origin: PAGE, ...WEB });
  expect(call.headers).toMatchObject({
    "access-control-allow-origin": PAGE,
    "access-control-allow-credentials": "true",
  });
});

test("the answer's own metadata is exposed by its names", async () => {
  const server = createServer({
    services: [
      serve(EchoService, {
        echo(_request, call) {
          call.responseMetadata.set("x-mine", "1");
          return {};
        },
      }),
    ],
  });
  await using listener = await listen(server, { web: { origins: [PAGE] } });
  const call = await send(listener, "POST", `/${EchoService.typeName}/Echo`, { origin: PAGE, ...WEB });
  expect(call.headers["access-control-expose-headers"]).toMatch(/^x-mine, grpc-status, /);
});

test.each([
  ["another page", "https://evil.example", "127.0.0.1"],
  ["a listed name with another port", `${PAGE}:8443`, "127.0.0.1"],
  ["a sandboxed page", "null", "127.0.0.1"],
  ["a page whose name was pointed here", "http://evil.example", "evil.example"],
  ["an encrypted page behind a name, here without TLS", "https://evil.example", "evil.example"],
])("%s is refused for everything", async (_who, origin, host) => {
  let calls = 0;
  await using listener = await start({
    origins: [PAGE],
    handlers: {
      "/x": () => {
        calls++;
        return { status: 200 };
      },
    },
  });
  const asked = { "access-control-request-method": "POST" };
  const answers = [
    await send(listener, "OPTIONS", CALL, { origin, host, ...asked }),
    await send(listener, "POST", CALL, { origin, host, ...WEB }),
    await send(listener, "POST", "/x", { origin, host, "content-type": "text/plain" }),
    await send(listener, "GET", "/x", { origin, host }),
  ];
  expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
  expect(answers[1]?.body).toBe(`Pages of ${origin} may not call this server: it does not list their origin.\n`);
  for (const { headers } of answers) expect(headers).not.toHaveProperty("access-control-allow-origin");
  expect(calls).toBe(0);
});

test.each(["127.0.0.1:8080", "localhost:8080", "console.localhost", "[::1]:81"])(
  "the server's own pages at %s need no list",
  async (host) => {
    await using listener = await start({});
    const call = await send(listener, "POST", CALL, { origin: `http://${host}`, host, ...WEB });
    expect(call.status).toBe(200);
    expect(call.headers).not.toHaveProperty("access-control-allow-origin");
  },
);

test.each([
  "*",
  "console.example",
  "https://console.example/",
  "https://console.example/app",
  "https://CONSOLE.example",
  "null",
])("%s is no origin that could be listed", async (origin) => {
  await expect(start({ origins: [origin] })).rejects.toThrow(`Cannot allow the origin "${origin}"`);
});
