import { expect, test } from "vitest";
import { findH2spec, runH2spec } from "./h2spec.ts";
import { startPlainServer } from "./plain-server.ts";

test.for([
  { isStrict: false, cases: 145 },
  { isStrict: true, cases: 146 },
])("h2spec, strict: $isStrict: 0 failed, 0 skipped", async ({ isStrict, cases }, context) => {
  const h2spec = await findH2spec({ mayFetch: process.env["SLUICE_SUITE"] === "full" });
  if (h2spec.kind === "missing") return context.skip(h2spec.reason);
  await using server = await startPlainServer();
  const { output, ...counts } = await runH2spec(h2spec.path, server.port, { isStrict });
  expect(counts, output).toEqual({ passed: cases, failed: 0, skipped: 0 });
});
