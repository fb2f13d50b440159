// The header blocks of requests, as gRPC clients send them.

import { createHash } from "node:crypto";
import type { Field } from "./hpack.ts";

/**
 * What a call carries beside its message.
 * `plain`: what every call must. `indexed`: also a timeout and a traceparent that change with each call and a token of
 * 1 kB, all left to the dynamic table, as grpc-go does: the changing ones push the token out again and again.
 * `literal`: the same with the token as a never-indexed literal in each call, as clients do that call it sensitive.
 */
export type HeaderForm = "plain" | "indexed" | "literal";

const tokenBytes = 1024;
const token =
  `Bearer ${createHash("shake256", { outputLength: tokenBytes }).update("token").digest("base64url")}`.slice(
    0,
    tokenBytes,
  );

/** @param call number of the call, from 0: what changes with it is derived from it */
export function requestFields(path: string, authority: string, form: HeaderForm, call: number): Field[] {
  const fields: Field[] = [
    { name: ":method", value: "POST" },
    { name: ":scheme", value: "http" },
    { name: ":path", value: path },
    { name: ":authority", value: authority },
    { name: "content-type", value: "application/grpc" },
    { name: "user-agent", value: "sluice-bench/1" },
    { name: "te", value: "trailers" },
  ];
  if (form === "plain") return fields;
  // What is left of five seconds, in microseconds: no two calls have the same.
  fields.push({ name: "grpc-timeout", value: `${4_999_999 - call}u` });
  fields.push({ name: "authorization", value: token, isNeverIndexed: form === "literal" });
  const [trace, span] = [digest("trace", call, 32), digest("span", call, 16)];
  fields.push({ name: "traceparent", value: `00-${trace}-${span}-01` });
  return fields;
}

function digest(kind: string, call: number, hexDigits: number): string {
  return createHash("sha256").update(`${kind} ${call}`).digest("hex").slice(0, hexDigits);
}
