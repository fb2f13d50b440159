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
  fields.push({ name: "traceparent", value: `00-${digits(0, call, 32)}-${digits(100, call, 16)}-01` });
  return fields;
}

/** Hexadecimal digits without a pattern, different for each call: what an id looks like to a header encoder. */
function digits(salt: number, call: number, count: number): string {
  let text = "";
  for (let word = 0; text.length < count; word++) {
    let mixed = Math.imul(call + 1, 0x9e3779b1) ^ Math.imul(salt + word + 1, 0x85ebca77);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
    mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
    text += ((mixed ^ (mixed >>> 15)) >>> 0).toString(16).padStart(8, "0");
  }
  return text.slice(0, count);
}
