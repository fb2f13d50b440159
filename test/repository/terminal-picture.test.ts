import { expect, test } from "vitest";
import { drawTerminal } from "../../scripts/terminal-picture.ts";

const options = { title: "a terminal", columns: 20 };

/** The drawn lines, as their spans' texts and attributes. */
function spansOf(svg: string): string[] {
  return [...svg.matchAll(/<tspan x="(?<x>[\d.]+)"(?<attributes>[^>]*)>(?<run>[^<]*)<\/tspan>/g)].map(
    ({ groups }) => `${groups?.["x"]}${groups?.["attributes"]} ${groups?.["run"]}`,
  );
}

test("styles become attributes, and text stays text", () => {
  const svg = drawTerminal("\u001b[33mWARN\u001b[39m a < b \u001b[1mbold\u001b[22m\n", options);
  expect(spansOf(svg)).toEqual(['16 fill="#d29922" WARN', "47.2  a &lt; b ", '101.8 font-weight="bold" bold']);
});

test("a progress bar that was erased is gone, and what overwrote a line is there", () => {
  const svg = drawTerminal("\r\u001b[2Kpushing 40 %\r\u001b[2Kpushed 31 entries\r\n", options);
  expect(spansOf(svg)).toEqual(["16 pushed 31 entries"]);
});

test("a line longer than the terminal wraps", () => {
  const svg = drawTerminal("12345678901234567890abc", options);
  expect(spansOf(svg)).toEqual(["16 12345678901234567890", "16 abc"]);
});

test("what it does not know is an error, never left out in silence", () => {
  expect(() => drawTerminal("\u001b[5Aup", options)).toThrow(/escape sequence at 0/);
  expect(() => drawTerminal("\u001b[7mreverse", options)).toThrow(/style 7/);
});
