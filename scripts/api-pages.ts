// `npm run gen`, the second half: the API pages of the packages that others install. What stands in the source is the
// documentation; the page gathers the declarations that a package exports, without their bodies, in the order of its index.

import { readFile, writeFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { type Class, type Comment, parseSync, type Program, type Statement } from "oxc-parser";
import { rootFolder } from "./command.ts";

export const apiPages = [
  { name: "@sluice/rpc", folder: "packages/rpc" },
  { name: "@sluice/client", folder: "packages/client" },
] as const;

export type ApiPage = (typeof apiPages)[number];

interface Source {
  readonly path: string;
  readonly text: string;
  readonly program: Program;
  readonly comments: readonly Comment[];
}

interface ExportedName {
  readonly name: string;
  /** Where it comes from, as the index says it: a path or a package. */
  readonly from: string;
}

/**
 * The page of a package as Markdown.
 * @throws Error naming the exports that have no docstring
 */
export async function makeApiPage({ name, folder }: ApiPage): Promise<string> {
  const index = await readSource(`${folder}/src/index.ts`);
  const sections: string[] = [];
  const others = new Map<string, string[]>();
  const undocumented: string[] = [];
  for (const { name: exported, from } of exportedNames(index)) {
    if (!from.startsWith(".") || from.includes("/gen/")) {
      others.set(from, [...(others.get(from) ?? []), exported]);
      continue;
    }
    const source = await readSource(normalize(join(dirname(index.path), from)));
    const { doc, code } = describe(source, exported);
    if (doc === "") undocumented.push(`${exported} (${source.path})`);
    const link = source.path.slice(folder.length + 1);
    sections.push(`## ${exported}\n\n${doc}\n\n\`\`\`ts\n${code}\n\`\`\`\n\n[${link}](${link})\n`);
  }
  if (undocumented.length > 0) throw new Error(`Without a docstring: ${undocumented.join(", ")}`);
  const rest = [...others].map(([from, names]) => `- \`${from}\`: ${names.map((each) => `\`${each}\``).join(", ")}\n`);
  const head = `# API of ${name}\n\nMade by \`npm run gen\` from the source: every export of \`src/index.ts\`, in its order.\n`;
  const passedOn = rest.length === 0 ? [] : [`## Passed on\n\n${rest.join("")}`];
  return [head, ...sections, ...passedOn].join("\n");
}

async function readSource(path: string): Promise<Source> {
  const text = await readFile(join(rootFolder, path), "utf8");
  const { program, comments, errors } = parseSync(path, text);
  if (errors[0] !== undefined) throw new Error(`Cannot read ${path}: ${errors[0].message}`);
  return { path, text, program, comments };
}

function exportedNames({ program, path }: Source): ExportedName[] {
  return program.body.flatMap((statement): ExportedName[] => {
    if (statement.type === "ExportAllDeclaration") return [{ name: "*", from: statement.source.value }];
    if (statement.type !== "ExportNamedDeclaration" || statement.source === null)
      throw new Error(`${path} does not only pass on what others export`);
    const from = statement.source.value;
    return statement.specifiers.map(({ exported }) => {
      if (exported.type !== "Identifier") throw new Error(`${path} exports a name that is not one`);
      return { name: exported.name, from };
    });
  });
}

/** Docstring as text, and declarations as code: a value and a type may share a name. */
function describe(source: Source, name: string): { doc: string; code: string } {
  const declarations = source.program.body.filter((statement) => declaredName(statement) === name);
  if (declarations.length === 0) throw new Error(`${source.path} declares no ${name}`);
  return {
    doc: declarations.map((statement) => docBefore(source, statement.start)).find((doc) => doc !== "") ?? "",
    code: declarations.map((statement) => codeOf(source, statement)).join("\n"),
  };
}

function declaredName(statement: Statement): string | undefined {
  if (statement.type !== "ExportNamedDeclaration") return undefined;
  const { declaration } = statement;
  if (declaration?.type !== "VariableDeclaration")
    return declaration !== null && "id" in declaration && declaration.id?.type === "Identifier"
      ? declaration.id.name
      : undefined;
  const [first] = declaration.declarations;
  return first?.id.type === "Identifier" ? first.id.name : undefined;
}

/** The text of the docstring that ends right before `start`; "" without one. */
function docBefore({ comments, text }: Source, start: number): string {
  const comment = comments.findLast(({ end }) => end <= start);
  if (comment === undefined || comment.type !== "Block" || !comment.value.startsWith("*")) return "";
  if (text.slice(comment.end, start).trim() !== "") return "";
  const lines = comment.value.slice(1).split("\n");
  return lines
    .map((line) => line.replace(/^\s*\* ?/, "").trim())
    .join("\n")
    .trim()
    .replaceAll(/^@(\w+)/gm, "\n*@$1*");
}

/** A declaration without its bodies and its private parts. */
function codeOf({ text, ...source }: Source, statement: Statement): string {
  if (statement.type !== "ExportNamedDeclaration" || statement.declaration === null) return "";
  const { declaration } = statement;
  if (declaration.type === "FunctionDeclaration")
    return text.slice(declaration.start, declaration.body?.start ?? declaration.end).trim();
  if (declaration.type === "ClassDeclaration") return classCode({ text, ...source }, declaration);
  return text.slice(declaration.start, declaration.end);
}

function classCode(source: Source, declaration: Class): string {
  const { text } = source;
  const members = declaration.body.body.flatMap((member) => {
    if (member.type !== "MethodDefinition" && member.type !== "PropertyDefinition") return [];
    if (member.key.type === "PrivateIdentifier" || member.accessibility === "private") return [];
    const end = (member.type === "MethodDefinition" ? member.value.body?.start : member.value?.start) ?? member.end;
    const signature = text.slice(member.start, end).trim().replace(/ =$/, ";").replace(/;?$/, ";");
    const doc = source.comments.findLast((comment) => comment.end <= member.start);
    const isDocumented = doc !== undefined && text.slice(doc.end, member.start).trim() === "";
    return [isDocumented ? `  ${text.slice(doc.start, doc.end)}\n  ${signature}` : `  ${signature}`];
  });
  const head = text.slice(declaration.start, declaration.body.start);
  return `${head}{\n${members.join("\n")}\n}`;
}

export const apiPageFile = ({ folder }: ApiPage): string => `${folder}/API.md`;

export async function writeApiPages(): Promise<void> {
  for (const page of apiPages) await writeFile(join(rootFolder, apiPageFile(page)), await makeApiPage(page));
}
