// The test suites: `npm test` runs those that need npm alone, `npm run crash`, `conformance` and `interop` the others.

import { defineConfig } from "vitest/config";

const conditions = ["sluice-source", "node", "import", "module", "default"];

/** @param files globs of a suite, relative to the repository */
function suite(
  name: string,
  files: readonly string[],
  options: { testTimeout?: number; fileParallelism?: boolean; env?: Record<string, string> } = {},
) {
  return {
    extends: true as const,
    test: { name, include: [...files], ...options },
  };
}

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    exclude: ["**/node_modules/**", "**/dist/**"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // What is polled for comes in milliseconds, on a busy machine in seconds: nothing is a failure before the test's own time.
    expect: { poll: { timeout: 15_000 } },
    // All cores: most files wait for sockets and disks half of their time.
    maxWorkers: "100%",
    allowOnly: false,
    // Files share the modules that a worker has loaded: loading them anew for each file takes as long as its tests.
    pool: "threads",
    isolate: false,
    setupFiles: ["./test/support/leaks.ts"],
    // How many cases the long property tests look at: fewer in `npm run check`, which must not keep anybody waiting.
    provide: { propertyScale: Number(process.env["SLUICE_PROPERTY_SCALE"] ?? 1) },
    reporters: ["default", "./scripts/test-reporter.ts"],
    // `npm run coverage`: HTTP/2 is written here only because it is the most tested part of the project.
    coverage: {
      provider: "v8",
      include: ["packages/rpc/src/http2/**/*.ts"],
      exclude: ["**/*.test.ts", "**/testing/**"],
      reporter: ["text"],
      thresholds: { lines: 95, perFile: true },
    },
    projects: [
      suite("unit", ["packages/*/src/**/*.test.ts", "bench/**/*.test.ts"]),
      suite("rpc", ["test/rpc/**/*.test.ts"]),
      suite("e2e", ["test/e2e/**/*.test.ts"], { testTimeout: 120_000 }),
      suite("interop", ["test/interop/**/*.test.ts"], { testTimeout: 120_000 }),
      suite("repository", ["test/repository/**/*.test.ts"], { testTimeout: 120_000 }),
      suite("pack", ["test/pack/**/*.test.ts"], { testTimeout: 120_000 }),
      suite("crash", ["test/crash/**/*.test.ts"], { testTimeout: 300_000, fileParallelism: false }),
      suite("abuse", ["test/abuse/**/*.test.ts"], { testTimeout: 120_000, fileParallelism: false }),
      suite("fuzz", ["test/fuzz/**/*.test.ts"], { testTimeout: 120_000 }),
      suite("slow", ["test/slow/**/*.test.ts", "test/e2e/queue-space.test.ts"], {
        testTimeout: 300_000,
        fileParallelism: false,
        env: { SLUICE_QUEUE_JOBS: "10000000" },
      }),
      suite("differential", ["test/differential/**/*.test.ts"], { testTimeout: 120_000 }),
    ],
  },
});

declare module "vitest" {
  interface ProvidedContext {
    /** Factor on the number of cases of a property test. */
    readonly propertyScale: number;
  }
}
