// Draws what a program wrote to a terminal as an SVG picture: text stays text, colours and weight are kept.
//
// It knows what our own programs send: SGR styles, carriage return, erasing of a line. Everything else of a terminal is
// left out on purpose; an unknown sequence is an error, so that no picture shows less than the terminal did.

interface Style {
  readonly foreground: string | undefined;
  readonly isBold: boolean;
  readonly isDim: boolean;
}

interface Cell {
  readonly character: string;
  readonly style: Style;
}

type Line = Cell[];

export interface PictureOptions {
  readonly title: string;
  /** Width in characters; longer lines wrap, as in a terminal. */
  readonly columns: number;
}

const plain: Style = { foreground: undefined, isBold: false, isDim: false };

/** The colours 30–37 and, brighter, 90–97, on a dark ground. */
const colours = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4"];
const brightColours = ["#6e7681", "#ffa198", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#f0f6fc"];
const ground = "#0d1117";
const frame = "#30363d";
const ink = "#e6edf3";

const fontSize = 13;
const cellWidth = 7.8;
const lineHeight = 18;
const padding = 16;
const titleHeight = 34;

/**
 * @param written what the programs wrote, escape sequences and all
 * @returns an SVG document
 * @throws Error for an escape sequence that is not known here
 */
export function drawTerminal(written: string, { title, columns }: PictureOptions): string {
  const lines = readScreen(written).flatMap((line) => wrap(line, columns));
  const width = Math.ceil(columns * cellWidth + 2 * padding);
  const height = titleHeight + lines.length * lineHeight + padding;
  const rows = lines
    .map((line, index) => drawLine(line, titleHeight + (index + 0.75) * lineHeight))
    .filter((row) => row !== "");
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${escapeXml(title)}</title>
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="${ground}" stroke="${frame}"/>
${["#ff5f57", "#febc2e", "#28c840"].map((fill, index) => `<circle cx="${20 + index * 18}" cy="17" r="5.5" fill="${fill}"/>`).join("\n")}
<text x="${width / 2}" y="21" fill="#8b949e" font-family="sans-serif" font-size="12" text-anchor="middle">${escapeXml(title)}</text>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${fontSize}" fill="${ink}" xml:space="preserve">
${rows.join("\n")}
</g>
</svg>
`;
}

const ESCAPE = "\u001b";

/** A control sequence (CSI, parameters, final byte), any other character, or an escape that begins neither. */
const tokens = new RegExp(
  String.raw`${ESCAPE}\[(?<parameters>[?0-9;]*)(?<final>[A-Za-z])|(?<character>[^${ESCAPE}])|${ESCAPE}`,
  "gu",
);

function readScreen(written: string): Line[] {
  const lines: Line[] = [[]];
  let line: Line = lines[0] ?? [];
  let column = 0;
  let style = plain;
  for (const { groups = {}, index } of written.matchAll(tokens)) {
    const { parameters = "", final, character } = groups;
    if (character === "\n") {
      line = [];
      lines.push(line);
      column = 0;
    } else if (character === "\r") {
      column = 0;
    } else if (character !== undefined) {
      while (line.length < column) line.push({ character: " ", style: plain });
      line[column++] = { character, style };
    } else if (final === "m") {
      style = parameters.split(";").reduce((before, code) => changeStyle(before, Number(code)), style);
    } else if (final === "K") {
      line.length = parameters === "2" ? 0 : Math.min(line.length, column);
    } else if (!(parameters === "?25" && (final === "h" || final === "l"))) {
      throw new Error(
        `Cannot draw the escape sequence at ${index}: ${JSON.stringify(written.slice(index, index + 12))}`,
      );
    }
  }
  while (lines.at(-1)?.length === 0) lines.pop();
  return lines;
}

function changeStyle(style: Style, code: number): Style {
  if (code === 0) return plain;
  if (code === 1) return { ...style, isBold: true };
  if (code === 2) return { ...style, isDim: true };
  if (code === 22) return { ...style, isBold: false, isDim: false };
  if (code === 39) return { ...style, foreground: undefined };
  if (code >= 30 && code <= 37) return { ...style, foreground: colours[code - 30] };
  if (code >= 90 && code <= 97) return { ...style, foreground: brightColours[code - 90] };
  throw new Error(`Cannot draw the style ${code}.`);
}

function wrap(line: Line, columns: number): Line[] {
  if (line.length <= columns) return [line];
  return [line.slice(0, columns), ...wrap(line.slice(columns), columns)];
}

/** One text element a line, one span for each run of a style, placed by its column so that no font can shift it. */
function drawLine(line: Line, y: number): string {
  const spans: string[] = [];
  for (let start = 0; start < line.length;) {
    const { style } = line[start] ?? { style: plain };
    let end = start;
    while (end < line.length && line[end]?.style === style) end++;
    const run = line
      .slice(start, end)
      .map(({ character }) => character)
      .join("");
    if (run.trim() !== "")
      spans.push(`<tspan x="${round(padding + start * cellWidth)}"${attributesOf(style)}>${escapeXml(run)}</tspan>`);
    start = end;
  }
  return spans.length === 0 ? "" : `<text y="${round(y)}">${spans.join("")}</text>`;
}

function attributesOf({ foreground, isBold, isDim }: Style): string {
  return [
    foreground === undefined ? "" : ` fill="${foreground}"`,
    isBold ? ' font-weight="bold"' : "",
    isDim ? ' fill-opacity="0.6"' : "",
  ].join("");
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escapeXml(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
