// The list of known differences as a page of documentation.
import { KNOWN_DIFFERENCES } from "./known-differences.ts";
import { STATES, STEPS } from "./steps.ts";

/** The list as a page of documentation. */
export function renderDifferences(): string {
  const word = { ours: "**Sluice**", node: "**Node**", both: "both" };
  const rows = KNOWN_DIFFERENCES.map(({ what, states, ours, node, follows, section, why }) =>
    [
      what,
      states.length === Object.keys(STATES).length ? "any" : states.join(", "),
      ours,
      node,
      word[follows],
      section,
      why,
    ]
      .map((cell) => cell.replaceAll("|", "\\|").replaceAll("\x7f", "\\u007f").replaceAll("*", "\\*"))
      .join(" | ")
      .replaceAll("\\*\\*", "**"),
  );
  return `${HEAD}${rows.map((row) => `| ${row} |\n`).join("")}`;
}

const HEAD = `# Where Sluice and Node differ in HTTP/2

Made from \`test/differential/frames/known/\`, which its test holds to be exact: \`npm run differential\` sends
each of ${STEPS.length} legal and illegal things that a client can say, in each state of a stream (${Object.keys(STATES).join(", ")}), and
random sequences of them, to this package's HTTP/2 and to \`node:http2\` (nghttp2), and compares what comes of it.
Everything that is not in this table is answered alike. "Follows" says who does what RFC 9113 asks for, "both" where it leaves the choice; the section is
RFC 9113's unless another is named.

| The client sends | State of the stream | Sluice | Node | Follows | Section | Why |
|---|---|---|---|---|---|---|
`;
