import { describe, expect, test } from "vitest";
import { ExposedListen, isLoopback, resolveListenAddress } from "./exposure.ts";

describe("who can reach an address", () => {
  test.each(["127.0.0.1", "127.255.0.3", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"])("%s is loopback", (address) => {
    expect(isLoopback(address)).toBe(true);
  });
  test.each(["0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "fe80::1", "::ffff:10.0.0.1", "localhost", ""])(
    "%s is not",
    (address) => {
      expect(isLoopback(address)).toBe(false);
    },
  );
});

test("a loopback address is listened on, by number or by name", async () => {
  await expect(resolveListenAddress("127.0.0.1", { insecureListen: false })).resolves.toBe("127.0.0.1");
  expect(isLoopback(await resolveListenAddress("localhost", { insecureListen: false }))).toBe(true);
});

test("an address that others reach is refused, unless it is allowed", async () => {
  const refusal = resolveListenAddress("0.0.0.0", { insecureListen: false });
  await expect(refusal).rejects.toThrow(ExposedListen);
  await expect(refusal).rejects.toThrow(/listen on 127\.0\.0\.1, or allow it with --insecure-listen/u);
  await expect(resolveListenAddress("0.0.0.0", { insecureListen: true })).resolves.toBe("0.0.0.0");
});
