// The layout's import arrows as a lint rule: which package, and which part of a package, may import which.
//
// The table below is the layout (docs/ARCHITECTURE.md); the rest only reads it. A new package, or a new folder of a
// package with levels, has no place until it gets one here: that is the moment to think about its arrows.
//
// L1. A package imports another one by its name, never by a path into it, and only those that its row names.
// L2. In a package with levels, a part imports its own files and parts of later levels, nothing else.
// L3. No package imports from what stands around the packages (test, bench, scripts, examples).

import { posix } from "node:path";

interface PackageRow {
  /** Names of the workspace's packages that it may import. */
  readonly imports: readonly string[];
  /** Parts (folders or files of src/, without the suffix) from top to ground; parts of one level are strangers. */
  readonly levels?: readonly (readonly string[])[];
}

const layout: Readonly<Record<string, PackageRow>> = {
  rpc: {
    imports: [],
    levels: [
      ["index", "browser"],
      ["listener"],
      ["health", "reflection"],
      ["web"],
      ["grpc"],
      ["socket-transport", "http1", "listening"],
      ["socket"],
      ["connection-watch"],
      ["http2", "socket-peer"],
      ["testing"],
      ["transport", "limits", "clock", "gen", "reading"],
    ],
  },
  api: { imports: [] },
  client: { imports: ["@sluice/api", "@sluice/rpc"] },
  server: {
    imports: ["@sluice/api", "@sluice/rpc"],
    levels: [
      ["index", "main"],
      ["server"],
      ["open-services"],
      ["open-logs", "open-metrics", "open-sinks"],
      ["surroundings"],
      ["config", "status"],
      ["http", "files", "logs", "metrics", "notifications", "queues"],
      ["security", "telemetry"],
      ["journal"],
      ["stream"],
      ["store"],
      ["errors", "limits"],
    ],
  },
  cli: { imports: ["@sluice/api", "@sluice/client", "@sluice/rpc", "@sluice/server"] },
};

interface Place {
  readonly packageName: string;
  /** Path of the folder `…/packages`, so that a fixture may hold a layout of its own. */
  readonly packagesFolder: string;
  readonly part: string;
}

/** Where a file stands, or undefined outside of `packages/NAME/src`. */
function placeOf(file: string): Place | undefined {
  const match = /^(?<packagesFolder>.*\/packages)\/(?<packageName>[^/]+)\/src\/(?<part>[^/.]+)/.exec(file);
  const { packagesFolder, packageName, part } = match?.groups ?? {};
  if (packagesFolder === undefined || packageName === undefined || part === undefined) return undefined;
  return { packageName, packagesFolder, part };
}

/**
 * Says why `file` may not import `specifier`, or undefined when it may.
 * @param file absolute path of the importing file, with forward slashes
 */
export function findBrokenArrow(file: string, specifier: string): string | undefined {
  const from = placeOf(file);
  if (from === undefined) return undefined;
  const row = layout[from.packageName];
  if (row === undefined) return `packages/${from.packageName} has no row in the layout (scripts/lint/layout.ts).`;
  if (!specifier.startsWith(".")) return brokenByName(from, row, specifier);

  const target = posix.join(posix.dirname(file), specifier);
  const to = placeOf(target);
  if (to === undefined || to.packageName !== from.packageName) {
    const isInside = to === undefined && target.startsWith(`${from.packagesFolder}/${from.packageName}/`);
    return isInside
      ? undefined
      : `packages/${from.packageName} must not reach out of its folder by a path: ${specifier}.`;
  }
  return brokenByLevel(from, row, to.part);
}

function brokenByName(from: Place, row: PackageRow, specifier: string): string | undefined {
  const [name] = /^(?:@sluice\/[^/]+|sluice(?=\/|$))/.exec(specifier) ?? [];
  if (name === undefined || row.imports.includes(name)) return undefined;
  const allowed = row.imports.length === 0 ? "no other package of this workspace" : `only ${row.imports.join(", ")}`;
  return `packages/${from.packageName} must not import ${name}: it imports ${allowed}.`;
}

function brokenByLevel(from: Place, { levels }: PackageRow, part: string): string | undefined {
  if (levels === undefined || part === from.part) return undefined;
  const fromLevel = levels.findIndex((parts) => parts.includes(from.part));
  const toLevel = levels.findIndex((parts) => parts.includes(part));
  const stranger = fromLevel < 0 ? from.part : toLevel < 0 ? part : undefined;
  if (stranger !== undefined)
    return `${stranger} of packages/${from.packageName} has no level in the layout (scripts/lint/layout.ts).`;
  if (toLevel > fromLevel) return undefined;
  const arrows = levels.map((parts) => (parts.length > 1 ? `{${parts.join(", ")}}` : parts[0])).join(" → ");
  return `${from.part} must not import ${part}: in packages/${from.packageName} imports point ${arrows}.`;
}

/** What of an import's syntax node is read here: its source, when that is a constant. */
interface ImportNode {
  readonly source: { readonly value?: unknown } | null;
}

interface RuleContext {
  readonly filename: string;
  report(finding: { readonly node: ImportNode; readonly message: string }): void;
}

const importArrows = {
  create(context: RuleContext) {
    const file = context.filename.replaceAll("\\", "/");
    const visit = (node: ImportNode): void => {
      if (typeof node.source?.value !== "string") return;
      const message = findBrokenArrow(file, node.source.value);
      if (message !== undefined) context.report({ node, message });
    };
    return {
      ImportDeclaration: visit,
      ExportNamedDeclaration: visit,
      ExportAllDeclaration: visit,
      ImportExpression: visit,
      TSImportType: visit,
    };
  },
};

const plugin = { meta: { name: "layout" }, rules: { "import-arrows": importArrows } };

export default plugin;
