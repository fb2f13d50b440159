// What a fresh clone installs from: any registry, any machine, also one with an older Node of its own.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { rootFolder, runCommand } from "../../scripts/command.ts";

interface Locked {
  readonly version?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly hasInstallScript?: boolean;
  readonly optional?: boolean;
  readonly optionalDependencies?: Record<string, string>;
}

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(join(rootFolder, path), "utf8")) as T;
}

const { packages } = await readJson<{ packages: Record<string, Locked> }>("package-lock.json");

test("the lock file names no registry", () => {
  const named = Object.entries(packages).filter(([, { resolved, link }]) => resolved !== undefined && link !== true);
  expect(named).toEqual([]);
});

test("every platform's packages are locked, or npm ci fails on a new machine", () => {
  const locked = new Set(Object.keys(packages).map((path) => path.replace(/^.*node_modules\//, "")));
  const wanted = Object.values(packages).flatMap(({ optionalDependencies }) => Object.keys(optionalDependencies ?? {}));
  expect(wanted.filter((name) => !locked.has(name))).toEqual([]);
});

/** Install scripts that may be left out (`npm ci --ignore-scripts`), with what they do. */
const dispensableScripts: Readonly<Record<string, string>> = {
  "node_modules/@bufbuild/buf": "looks whether the platform's binary came, which npm brought as a package",
  "node_modules/protobufjs": "warns of a version range",
};

test("nothing that must be there needs an install script", () => {
  const withScript = Object.entries(packages).filter(
    ([, { hasInstallScript, optional }]) => hasInstallScript && !optional,
  );
  const needed = withScript.map(([path]) => path).filter((path) => !(path in dispensableScripts));
  expect(needed).toEqual([]);
});

const manifests = [
  "package.json",
  ...["rpc", "api", "client", "server", "cli"].map((name) => `packages/${name}/package.json`),
];

test.each(manifests)("%s pins each dependency to one version", async (path) => {
  const { dependencies, devDependencies, optionalDependencies } = await readJson<Manifest>(path);
  const ranges = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies });
  expect(ranges.filter(([, range]) => !/^\d+\.\d+\.\d+$/.test(range))).toEqual([]);
});

test("every platform's Node is the same version, and it is the one that runs", async () => {
  const { optionalDependencies = {} } = await readJson<Manifest>("package.json");
  const versions = new Set(Object.entries(optionalDependencies).map(([, version]) => version));
  expect(versions.size).toBe(1);
  const { stdout } = await runCommand(["node", "--version"]);
  expect(`v${[...versions].join()}\n`).toBe(stdout);
});
