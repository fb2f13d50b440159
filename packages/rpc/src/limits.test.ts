import { expect, test } from "vitest";
import { DEFAULT_HTTP2_LIMITS, http2Limits } from "./limits.ts";

test("overrides replace the defaults they name", () => {
  expect(http2Limits()).toEqual(DEFAULT_HTTP2_LIMITS);
  expect(http2Limits({ sliceBytes: 1 })).toEqual({ ...DEFAULT_HTTP2_LIMITS, sliceBytes: 1 });
});

test.each([
  [{ streamWindowBytes: 65_534 }, "Cannot use 65534 for streamWindowBytes: it must be between 65535 and 2147483647"],
  [{ frameBytesMax: 16_383 }, "frameBytesMax"],
  [{ headerTableBytes: 0 }, "headerTableBytes"],
  [{ lingerMs: -1 }, "lingerMs"],
  [{ lingerMs: Number.NaN }, "lingerMs"],
  [{ connectionWindowBytes: 2 ** 31 }, "connectionWindowBytes"],
])("%o is refused: no peer could keep to it", (overrides, message) => {
  expect(() => http2Limits(overrides)).toThrow(message);
});
