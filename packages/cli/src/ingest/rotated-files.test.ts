import { expect, test } from "vitest";
import { isRotationOf, stemsOf } from "./rotated-files.ts";

test.each([
  ["a.log.1", "a.log"],
  ["a.log.12.gz", "a.log"],
  ["a.log-20261121", "a.log"],
  ["a.log-20261121-1795250581.gz", "a.log"],
  ["0.log.20261121-084301", "0.log"],
  ["a.log.2026-11-21T08:43:01Z", "a.log"],
  ["a-20261121.log", "a.log"],
  ["a.2026-11-21.log", "a.log"],
  ["a.log.old", "a.log"],
  ["a.log.old.1", "a.log"],
  ["syslog.1", "syslog"],
])("%s is what rotation makes of %s", (name, stem) => {
  expect(isRotationOf(name, stem)).toBe(true);
  expect(stemsOf(name)).toContain(stem);
});

test.each([
  ["a.log", "a.log"],
  ["a.log", "a"],
  ["a-error.log", "a.log"],
  ["a.log.swp", "a.log"],
  ["ab.log.1", "a.log"],
  ["a.log.1x", "a.log"],
  ["a-2.log", "a.log"],
  ["a.logs", "a.log"],
])("%s is another file than %s", (name, stem) => {
  expect(isRotationOf(name, stem)).toBe(false);
  expect(stemsOf(name)).not.toContain(stem);
});
