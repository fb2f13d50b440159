import { expect, test } from "vitest";
import { digestOf, wantsSha256 } from "./http-digest.ts";

test("the field of RFC 9530, appendix B.1", () => {
  expect(digestOf(Buffer.from('{"hello": "world"}\n'))).toBe("sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
});

test.each([
  ["sha-256=1", true],
  ["sha-512=3, sha-256=10", true],
  ["sha-256 = 5;x=1, unixsum=0", true],
  ["sha-256=0", false],
  ["sha-256=11", false],
  ["sha-512=10", false],
  ["x-sha-256=1", false],
  ["sha-256", false],
  [undefined, false],
])("Want-Repr-Digest: %s: %s", (field, wanted) => {
  expect(wantsSha256(field)).toBe(wanted);
});
