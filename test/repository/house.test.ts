import { expect, test } from "vitest";
import { findHouseBreaks } from "../../scripts/house.ts";

test("a file in kebab-case with a telling name is fine", () => {
  expect(findHouseBreaks("packages/server/src/store/group-commit.test.ts", "export const x = 1;\n")).toEqual([]);
});

test.each([
  ["packages/rpc/src/http2/flowControl.ts", "flowControl.ts is not in kebab-case"],
  ["packages/rpc/src/Web/frame.ts", "Web is not in kebab-case"],
  ["packages/rpc/src/utils/frame.ts", "utils says nothing"],
  ["packages/server/src/helpers.ts", "helpers.ts says nothing"],
])("%s is reported", (path, sentence) => {
  expect(findHouseBreaks(path, "")).toEqual([expect.stringContaining(sentence)]);
});

test.each([
  ["// oxlint" + "-disable-next-line no-console"],
  ["/* eslint" + "-disable */"],
  ["// @ts" + "-expect-error"],
])("%s is reported with its line", (comment) => {
  expect(findHouseBreaks("packages/rpc/src/frame.ts", `\n${comment}\n`)).toEqual([
    expect.stringMatching(/^packages\/rpc\/src\/frame\.ts:2 /),
  ]);
});
