import { SeverityNumberSchema } from "@sluice/api";
import { describe, expect, test } from "vitest";
import { InvalidRequest } from "../errors.ts";
import { findSeverity, parseSeverity, severityName, severityOfLevel } from "./severity.ts";

describe("the level of a request", () => {
  test("is one of OpenTelemetry's 24 names, in any case", () => {
    expect(SeverityNumberSchema.values).toHaveLength(25);
    for (const { number, localName } of SeverityNumberSchema.values.slice(1)) {
      expect(severityName(number)).toBe(localName);
      for (const written of [severityName(number), severityName(number).toLowerCase()]) {
        expect(parseSeverity(written, "log_level")).toBe(number);
      }
    }
  });

  test("is WARN when it says WARNING, and all when it is empty", () => {
    expect(["WARNING", "warning", "Warn", ""].map((name) => parseSeverity(name, "log_level"))).toEqual([13, 13, 13, 0]);
  });

  test.each(["LOUD", "CRITICAL", "INFO5", "INFO1", "WARNING2", " INFO", "13", "x".repeat(1000)])(
    "is refused: %s",
    (name) => {
      let error: unknown;
      try {
        parseSeverity(name, "log_level");
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(InvalidRequest);
      const { reason, violations } = (error as InvalidRequest).facts;
      expect(reason).toBe("UNKNOWN_LEVEL");
      expect(violations?.[0]?.field).toBe("log_level");
      expect(violations?.[0]?.description).toMatch(/TRACE, DEBUG, INFO, WARN, ERROR, FATAL/);
      expect(violations?.[0]?.description.length).toBeLessThan(300);
    },
  );
});

describe("the level of an entry", () => {
  test.each([
    ["INFO", 9],
    ["warning", 13],
    [" Error ", 17],
    ["fatal4", 24],
    ["CRITICAL", 18],
    ["notice", 10],
    ["emerg", 21],
    ["err", 17],
    ["loud", 0],
    ["", 0],
  ])("%s is %d", (level, number) => {
    expect(severityOfLevel(level)).toBe(number);
  });

  test("may say more than a request may", () => {
    expect(findSeverity("CRITICAL")).toBeUndefined();
    expect(severityName(25)).toBe("");
  });
});
