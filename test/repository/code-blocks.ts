// Code blocks of a Markdown page.

export interface CodeBlock {
  readonly language: string;
  readonly code: string;
  /** The HTML comment right above the block, if any: what a test is to know about it and a reader is not. */
  readonly remark: string | undefined;
  /** The heading of second or third level that it stands under. */
  readonly heading: string;
}

export function findCodeBlocks(markdown: string): CodeBlock[] {
  const pattern = /^#{2,3} (?<heading>.*)$|(?:^<!-- (?<remark>.*?) -->\n)?^```(?<language>\w+)\n(?<code>[^]*?)^```$/gm;
  const blocks: CodeBlock[] = [];
  let current = "";
  for (const { groups } of markdown.matchAll(pattern)) {
    const { heading, remark, language = "", code = "" } = groups ?? {};
    if (heading === undefined) blocks.push({ language, code, remark, heading: current });
    else current = heading;
  }
  return blocks;
}
