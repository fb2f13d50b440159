// Each rule that the layout and the style rest on reports its known violation, and nothing else.

import { expect, test } from "vitest";
import { runCommand } from "../../scripts/command.ts";

const fixtures = "test/fixtures/lint";

interface LintReport {
  readonly diagnostics: readonly { readonly code: string; readonly filename: string; readonly message: string }[];
}

test("known violations are reported, each by its rule", async () => {
  const { code, stdout } = await runCommand([
    "oxlint",
    "--config",
    `${fixtures}/oxlintrc.json`,
    "--format",
    "json",
    fixtures,
  ]);
  expect(code).toBe(1);

  const report = JSON.parse(stdout) as LintReport;
  const found = report.diagnostics.map(
    ({ filename, code: rule }) => `${filename.replaceAll("\\", "/").slice(fixtures.length + 1)} ${rule}`,
  );
  expect(found.toSorted()).toEqual([
    "cycle-one.ts import(no-cycle)",
    "cycle-two.ts import(no-cycle)",
    "packages/rpc/src/http2/uses-clock.ts eslint(no-restricted-globals)",
    "packages/rpc/src/http2/uses-clock.ts eslint(no-restricted-imports)",
    "packages/rpc/src/imports-product.ts layout(import-arrows)",
    "packages/rpc/src/reaches-out.ts layout(import-arrows)",
    "packages/server/src/logs/imports-http.ts layout(import-arrows)",
    "packages/server/src/store/imports-client.ts layout(import-arrows)",
    "packages/server/src/store/imports-stream.ts layout(import-arrows)",
    "promises.ts typescript(no-floating-promises)",
    "promises.ts typescript(no-misused-promises)",
    "types.ts typescript(no-explicit-any)",
    "types.ts typescript(no-unsafe-member-access)",
    "types.ts typescript(switch-exhaustiveness-check)",
  ]);
});

test("a broken arrow is told with the arrows that hold", async () => {
  const file = `${fixtures}/packages/server/src/store/imports-stream.ts`;
  const { stdout } = await runCommand(["oxlint", "--config", `${fixtures}/oxlintrc.json`, "--format", "unix", file]);
  expect(stdout).toMatch(/store must not import stream: in packages\/server imports point .*stream → store → /);
});
