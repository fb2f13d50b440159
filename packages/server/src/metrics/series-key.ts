// The key of a series: what it is, as one text, from which its labels can be read again.
//
//   origin \n name \n label=value,label=value,…
//
// In labels and values `\`, `=`, `,` and a line's end are escaped, so that no label can look like two.
import type { SeriesDescription } from "./point.ts";

type Labels = SeriesDescription["labels"];

export function keyOf(series: Pick<SeriesDescription, "origin" | "name" | "labels">): string {
  return keyPrefix(series) + labelsText(series.labels);
}

/** What is before the labels. */
export function keyPrefix({ origin, name }: Pick<SeriesDescription, "origin" | "name">): string {
  return `${origin}\n${name}\n`;
}

export function labelsText(labels: Labels): string {
  let text = "";
  for (const [label, value] of labels) text += `${escape(label)}=${escape(value)},`;
  return text;
}

/** What `labelsText` was given. */
export function labelsOfText(text: string): Labels {
  const labels: [string, string][] = [];
  for (let at = 0; at < text.length;) {
    const middle = endOf(text, at, "=");
    const end = endOf(text, middle + 1, ",");
    labels.push([unescape(text.slice(at, middle)), unescape(text.slice(middle + 1, end))]);
    at = end + 1;
  }
  return labels;
}

/** The value of one of them, without reading the others; "": it is not there. */
export function labelInText(text: string, name: string): string {
  const head = `${escape(name)}=`;
  for (let at = text.indexOf(head); at >= 0; at = text.indexOf(head, at + 1)) {
    // A label begins with the text, or behind a comma that is not of a value.
    if (at > 0 && (text[at - 1] !== "," || isEscaped(text, at - 1))) continue;
    const start = at + head.length;
    return unescape(text.slice(start, endOf(text, start, ",")));
  }
  return "";
}

/** The next one that is not escaped. */
function endOf(text: string, from: number, mark: string): number {
  let at = text.indexOf(mark, from);
  while (isEscaped(text, at)) at = text.indexOf(mark, at + 1);
  return at;
}

function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === "\\") slashes++;
  return slashes % 2 === 1;
}

const SPECIAL = /[\\=,\n]/u;

function escape(text: string): string {
  return SPECIAL.test(text)
    ? text.replaceAll(/[\\=,\n]/gu, (character) => `\\${character === "\n" ? "n" : character}`)
    : text;
}

function unescape(text: string): string {
  return text.includes("\\")
    ? text.replaceAll(/\\(.)/gu, (_, character: string) => (character === "n" ? "\n" : character))
    : text;
}
