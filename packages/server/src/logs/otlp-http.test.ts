import { Code, type HttpRequest, retryAfter, RpcError } from "@sluice/rpc";
import { expect, test } from "vitest";
import { createOtlpLogsHandler } from "./otlp-http.ts";

/** A request as the port hands it on. */
function post(language: "json" | "x-protobuf"): HttpRequest {
  async function* body() {
    yield Buffer.from(language === "json" ? "{}" : "");
  }
  return {
    method: "POST",
    isHead: false,
    path: "/v1/logs",
    query: new URLSearchParams(),
    headers: new Map([["content-type", `application/${language}`]]),
    peer: { address: "127.0.0.1:1" } as HttpRequest["peer"],
    body: body(),
    signal: new AbortController().signal,
  };
}

/** Exporters try again after 429, 502, 503 and 504, and after nothing else (OTLP's specification). */
test.each([
  ["a full disk", Code.UNAVAILABLE, 5000, 503, "5"],
  ["a server that stops", Code.UNAVAILABLE, undefined, 503, undefined],
  ["a bound at which to wait", Code.RESOURCE_EXHAUSTED, 100, 429, "1"],
  ["a limit that will not change", Code.RESOURCE_EXHAUSTED, undefined, 400, undefined],
  ["a deadline", Code.DEADLINE_EXCEEDED, undefined, 504, undefined],
  ["a denial", Code.PERMISSION_DENIED, undefined, 403, undefined],
  ["what nobody foresaw", Code.INTERNAL, undefined, 500, undefined],
])("%s has the status that makes exporters do the right thing", async (_, code, retryMs, status, retryAfterS) => {
  const handler = createOtlpLogsHandler({
    messageBytesMax: 1000,
    exportLogs: () => Promise.reject(new Error("no")),
    statusOf: () => new RpcError(code, "said so", retryMs === undefined ? {} : { details: [retryAfter(retryMs)] }),
  });
  const answer = await handler(post("json"));
  expect([answer.status, answer.headers?.["retry-after"]]).toEqual([status, retryAfterS]);
  expect(JSON.parse(answer.body as string)).toEqual({ code, message: "said so" });
  expect((await handler(post("x-protobuf"))).status).toBe(status);
});
