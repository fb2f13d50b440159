import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_GRPC_LIMITS, DEFAULT_HTTP1_LIMITS, DEFAULT_HTTP2_LIMITS } from "@sluice/rpc";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ConfigError, type ConfigSources, loadConfig, type LogSettings, settings } from "./config.ts";
import { DEFAULT_LIMITS } from "./limits.ts";

const DEFAULT_LOG_SETTINGS: LogSettings = {
  segmentBytes: 64 * 1024 * 1024,
  retainBytes: undefined,
  retainAgeMs: undefined,
  quotaBytes: undefined,
  minFreeBytes: undefined,
  compressAfterMs: undefined,
};

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), "sluice-config-"))));
afterEach(() => rm(folder, { recursive: true }));

const load = (sources: Partial<ConfigSources> = {}) =>
  loadConfig({ flags: new Map(), environment: {}, folder, ...sources });
const writeConfig = (text: string, name = "sluice.yaml") => writeFile(join(folder, name), text);

describe("where values come from", () => {
  test("without anything the defaults hold, those of limits.ts included", async () => {
    const { config, values, file } = await load();
    const { heldBytesMax, statusLingerMs } = DEFAULT_GRPC_LIMITS;
    const { concurrentStreamsMax: _, ...http2 } = DEFAULT_HTTP2_LIMITS;
    expect(config).toEqual({
      listen: [{ kind: "address", address: { host: "127.0.0.1", port: 8080 } }],
      insecureListen: false,
      socketMode: 0o600,
      tls: undefined,
      allowPlaintext: false,
      healthListen: undefined,
      webOrigins: [],
      data: join(folder, "data"),
      files: [],
      filesRates: { bytesPerSecond: undefined, bytesPerSecondPerPeer: undefined },
      filesUploadRates: { bytesPerSecond: undefined, bytesPerSecondPerPeer: undefined },
      logFormat: "text",
      logLevel: "info",
      logs: new Map([["default", DEFAULT_LOG_SETTINGS]]),
      logDefaults: DEFAULT_LOG_SETTINGS,
      routes: [],
      scrape: { targets: [], intervalMs: 15_000, timeoutMs: 10_000 },
      metricsForward: { targets: [], intervalMs: 15_000 },
      metricsHistory: { keepMs: 7_200_000, intervalMs: 15_000 },
      notifications: { awayMs: 300_000, webhooks: [], webPush: undefined },
      heartbeatMs: 30_000,
      drainGraceMs: 10_000,
      limits: DEFAULT_LIMITS,
      connections: { keepalive: { intervalMs: 300_000, timeoutMs: 20_000 }, idleMs: undefined, age: undefined },
      grpc: { heldBytesMax, statusLingerMs },
      http2,
      http1: DEFAULT_HTTP1_LIMITS,
    });
    expect(new Set(values.map((each) => each.origin.kind))).toEqual(new Set(["default"]));
    expect(file).toBeUndefined();
  });

  test("a flag beats the environment, that beats the file, that beats the default", async () => {
    await writeConfig("heartbeat: 1s\ndrainGrace: 1s\nlogLevel: warn\n");
    const environment = { SLUICE_HEARTBEAT: "2s", SLUICE_DRAIN_GRACE: "2s" };
    const { config, values } = await load({ environment, flags: new Map([["heartbeat", "3s"]]) });
    expect(config).toMatchObject({ heartbeatMs: 3000, drainGraceMs: 2000, logLevel: "warn", logFormat: "text" });
    const originOf = (key: string) => values.find((each) => each.key === key)?.origin;
    expect(originOf("heartbeat")).toEqual({ kind: "flag", place: "--heartbeat" });
    expect(originOf("drainGrace")).toEqual({ kind: "environment", place: "SLUICE_DRAIN_GRACE" });
    expect(originOf("logLevel")).toEqual({ kind: "file", place: `${join(folder, "sluice.yaml")}:3` });
    expect(originOf("logFormat")).toEqual({ kind: "default", place: "default" });
  });

  test("rates of files: sizes, or off", async () => {
    await writeConfig("filesRate: off\n");
    const { config } = await load({ flags: new Map([["filesRatePerPeer", "20MB"]]) });
    expect(config.filesRates).toEqual({ bytesPerSecond: undefined, bytesPerSecondPerPeer: 20_000_000 });
    const uploads = await load({ flags: new Map([["filesUploadRate", "1GB"]]) });
    expect(uploads.config.filesUploadRates.bytesPerSecond).toBe(1_000_000_000);
    await expect(load({ flags: new Map([["filesRate", "1B"]]) })).rejects.toThrow("--files-rate");
  });

  test("targets to scrape: in the file by job, with what is special about each; as a flag that is repeated", async () => {
    const text = [
      "metrics:",
      "  scrapeInterval: 5s",
      "  scrape:",
      "    node: http://127.0.0.1:9100",
      "    shop:",
      "      interval: 1s",
      "      url: https://shop.test/custom/metrics?a=b",
      "      honorLabels: true",
      "      caFile: tls/ca.pem",
      "      bearerTokenFile: /run/token",
      "      labels:",
      "        env: test",
      "        zone: a",
    ];
    await writeConfig(`${text.join("\n")}\n`);
    const { config } = await load();
    expect(config.scrape).toMatchObject({
      intervalMs: 5000,
      targets: [
        { job: "node", url: new URL("http://127.0.0.1:9100/metrics"), labels: [], intervalMs: undefined },
        {
          job: "shop",
          url: new URL("https://shop.test/custom/metrics?a=b"),
          intervalMs: 1000,
          honorLabels: true,
          access: { caFile: join(folder, "tls/ca.pem"), bearerTokenFile: "/run/token" },
          labels: [
            ["env", "test"],
            ["zone", "a"],
          ],
        },
      ],
    });
    const flags = new Map([["metrics.scrape", "http://a.test,b=http://b.test/m;timeout=2s"]]);
    expect((await load({ flags })).config.scrape.targets).toMatchObject([
      { job: "a.test" },
      { job: "b", timeoutMs: 2000 },
    ]);
  });

  test("shared folders, with and without a name, relative to where they are named", async () => {
    await writeConfig("files:\n  - shared\n  - photos=/srv/p:hidden:rw\n");
    const expected = [
      { name: "", folder: join(folder, "shared"), isWritable: false, showsHidden: false },
      { name: "photos", folder: "/srv/p", isWritable: true, showsHidden: true },
    ];
    expect((await load({})).config.files).toEqual(expected);
    const byFlag = await load({ flags: new Map([["files", "a=b=c"]]) });
    expect(byFlag.config.files).toEqual([
      { name: "a", folder: join(folder, "b=c"), isWritable: false, showsHidden: false },
    ]);
  });

  test("an empty variable counts as absent", async () => {
    const { config } = await load({ environment: { SLUICE_HEARTBEAT: "", SLUICE_CONFIG: "" } });
    expect(config.heartbeatMs).toBe(30_000);
  });

  test("flags and variables are named after the key", () => {
    expect(settings.find((each) => each.key === "limits.entryBytesMax")).toMatchObject({
      flag: "--limits-entry-bytes-max",
      variable: "SLUICE_LIMITS_ENTRY_BYTES_MAX",
    });
    for (const { key, about } of settings) expect(about.description, key).toMatch(/^[A-Z].*\.$/u);
  });

  test("a relative data folder of the file is relative to the file, of a flag to the working directory", async () => {
    await mkdir(join(folder, "etc"));
    await writeConfig("data: store", "etc/s.yaml");
    expect((await load({ file: "etc/s.yaml" })).config.data).toBe(join(folder, "etc/store"));
    expect((await load({ file: "etc/s.yaml", flags: new Map([["data", "other"]]) })).config.data).toBe(
      join(folder, "other"),
    );
  });

  test("several values: a list in the file, commas elsewhere", async () => {
    await writeConfig(
      "listen:\n  - 127.0.0.1:1\n  - unix:/run/s.sock\nwebOrigins: [https://a.example, http://b.example:81]\n",
    );
    const { config } = await load();
    expect(config.listen).toEqual([
      { kind: "address", address: { host: "127.0.0.1", port: 1 } },
      { kind: "unix", path: "/run/s.sock" },
    ]);
    expect(config.webOrigins).toEqual(["https://a.example", "http://b.example:81"]);
    const environment = { SLUICE_LISTEN: "systemd, [::1]:2", SLUICE_WEB_ORIGINS: "off", SLUICE_SOCKET_MODE: "0660" };
    expect((await load({ environment })).config).toMatchObject({
      listen: [{ kind: "systemd" }, { kind: "address", address: { host: "::1", port: 2 } }],
      webOrigins: [],
      socketMode: 0o660,
    });
  });

  test("files of a certificate are relative to where they are named", async () => {
    await writeConfig("tlsCert: tls.crt\ntlsKey: /etc/tls.key\n");
    const { config } = await load({ flags: new Map([["tlsClientCa", "ca.crt"]]) });
    expect(config.tls).toEqual({
      cert: join(folder, "tls.crt"),
      key: "/etc/tls.key",
      clientCa: join(folder, "ca.crt"),
    });
  });

  test("limits of the protocols and lives of connections are settings like any other", async () => {
    await writeConfig("http2:\n  headersTimeout: 3s\n  resetBurst: 77\nconnections:\n  age: 1h\n  keepalive: off\n");
    const environment = { SLUICE_GRPC_HELD_BYTES_MAX: "32MiB", SLUICE_CONNECTIONS_AGE_GRACE: "5m" };
    const { config } = await load({ environment, flags: new Map([["http1.droppedTimeout", "7s"]]) });
    expect(config.http2).toMatchObject({ headersTimeoutMs: 3000, resetBurst: 77 });
    expect(config.http1.droppedTimeoutMs).toBe(7000);
    expect(config.grpc.heldBytesMax).toBe(2 ** 25);
    expect(config.connections).toEqual({
      keepalive: undefined,
      idleMs: undefined,
      age: { maxMs: 3_600_000, graceMs: 300_000 },
    });
    expect(settings.find((each) => each.key === "http2.headersTimeout")).toMatchObject({
      flag: "--http2-headers-timeout",
      variable: "SLUICE_HTTP2_HEADERS_TIMEOUT",
    });
  });

  test("every kind of value is read from YAML and from text alike", async () => {
    const LOG_SETTINGS = {
      ...DEFAULT_LOG_SETTINGS,
      retainBytes: 2 ** 30,
      retainAgeMs: 36 * 3600_000,
      compressAfterMs: 3600_000,
      segmentBytes: 2 ** 20,
    };
    const asYaml = [
      "insecureListen: true",
      "listen: '[::1]:0'",
      "retainBytes: 1GiB",
      "retainAge: 1d12h",
      "compressAfter: 1h",
      "segmentBytes: 1048576",
      "limits:",
      "  filtersMax: 3",
    ];
    await writeConfig(asYaml.join("\n"));
    const { config } = await load();
    expect(config).toMatchObject({
      insecureListen: true,
      listen: [{ kind: "address", address: { host: "::1", port: 0 } }],
      logs: new Map([["default", LOG_SETTINGS]]),
      logDefaults: LOG_SETTINGS,
    });
    expect(config.limits.filtersMax).toBe(3);
    await rm(join(folder, "sluice.yaml"));
    const environment = {
      SLUICE_INSECURE_LISTEN: "yes",
      SLUICE_LISTEN: "[::1]:0",
      SLUICE_RETAIN_BYTES: "1024MiB",
      SLUICE_RETAIN_AGE: "36h",
      SLUICE_COMPRESS_AFTER: "60m",
      SLUICE_SEGMENT_BYTES: "1MiB",
      SLUICE_LIMITS_FILTERS_MAX: "3",
    };
    expect((await load({ environment })).config).toEqual(config);
  });
});

describe("several logs", () => {
  test("have settings of their own; what they leave out is as at the top level, wherever that comes from", async () => {
    const text = [
      "retainAge: 30d",
      "logs:",
      "  audit:",
      "    retainAge: off",
      "    quotaBytes: 1GiB",
      "  bulk.web:",
      "routes:",
    ];
    await writeConfig([...text, "  pay-*: audit", "  '*': spill", ""].join("\n"));
    const { config, values } = await load({ flags: new Map([["minFreeBytes", "10GiB"]]) });
    const day = 86_400_000;
    const top = { ...DEFAULT_LOG_SETTINGS, retainAgeMs: 30 * day, minFreeBytes: 10 * 2 ** 30 };
    expect(config.logs).toEqual(
      new Map<string, LogSettings>([
        ["default", top],
        ["audit", { ...top, retainAgeMs: undefined, quotaBytes: 2 ** 30 }],
        ["bulk.web", top],
        ["spill", top],
      ]),
    );
    expect(config.routes).toEqual([
      { applications: "pay-*", log: "audit" },
      { applications: "*", log: "spill" },
    ]);
    const shown = (key: string) => values.find((each) => each.key === key);
    const file = join(folder, "sluice.yaml");
    expect(shown("logs.audit.retainAge")).toMatchObject({ value: "off", origin: { place: `${file}:4` } });
    expect(shown("logs.bulk.web.retainAge")).toMatchObject({ value: "30d", origin: { place: `${file}:1` } });
    expect(shown("logs.bulk.web.minFreeBytes")).toMatchObject({ origin: { place: "--min-free-bytes" } });
    expect(shown("logs.spill.segmentBytes")).toMatchObject({ value: "64MiB", origin: { kind: "default" } });
    expect(shown("logs.default.retainAge")).toBeUndefined();
  });

  test("can be routed to by flags and variables alone; the first route that matches holds", async () => {
    const environment = { SLUICE_ROUTES: "a=b=audit, x*=bulk" };
    expect((await load({ environment })).config.routes).toEqual([
      { applications: "a=b", log: "audit" },
      { applications: "x*", log: "bulk" },
    ]);
    const { config } = await load({ environment, flags: new Map([["routes", "y=other"]]) });
    expect([...config.logs.keys()]).toEqual(["default", "other"]);
  });
});

describe("what is refused, with file, key and what is allowed", () => {
  const problemsOf = (sources: Partial<ConfigSources> = {}) =>
    load(sources).then(
      () => expect.unreachable("the configuration was accepted"),
      (error: unknown) => (error as ConfigError).problems,
    );

  test.each([
    [
      "limits:\n  entryBytesMax: 12 bananas\n",
      ':2: limits.entryBytesMax: "12 bananas" has an unknown unit; allowed is a number of bytes',
    ],
    ["limits:\n  entryBytesMax: 1PiB\n", "unknown unit"],
    ["limits:\n  entryBytesMax: 1B\n", '"1B" is outside; allowed is 1KiB to 64MiB'],
    ["limits:\n  filtersMax: -1\n", "-1 is outside; allowed is a whole number from 0 to 1024"],
    ["heartbeat: 30 seconds\n", ':1: heartbeat: "30 seconds" is no duration; allowed is a number with a unit'],
    ["heartbeat: 30\n", '"30" is no duration'],
    ["insecureListen: perhaps\n", '"perhaps" is neither; allowed are true and false'],
    ["logLevel: loud\n", '"loud" is none of them; allowed are trace, debug, info, warn, error, fatal'],
    ["listen: 8080\n", ":1: listen: allowed is HOST:PORT"],
    ["listen: localhost:99999\n", '"localhost:99999" is no address; allowed is HOST:PORT'],
    ["listen: [127.0.0.1:1, here]\n", '"here" is no address; allowed is HOST:PORT'],
    ["logLevel: [info, warn]\n", "logLevel must have one value"],
    ["socketMode: 999\n", "999 is none; allowed are three octal digits, such as 660"],
    ["files: a,b\n", "two folders have no name; give each its own: NAME=FOLDER"],
    ["files: [x=a, x=b]\n", 'two folders have the name "x"; give each its own: NAME=FOLDER'],
    ["files: 'a b=/c'\n", '"a b=/c" is none; allowed is FOLDER, or NAME=FOLDER'],
    ["files: '=/c'\n", '"=/c" is none; allowed is FOLDER, or NAME=FOLDER'],
    ["webOrigins: '*'\n", '"*" is no origin; allowed is https://HOST'],
    ["webOrigins: https://a.example/\n", '"https://a.example/" is no origin'],
    ["tlsCert: a.crt\n", "tlsCert needs tlsKey beside it"],
    ["tlsKey: a.key\n", "tlsKey needs tlsCert beside it"],
    ["tlsClientCa: ca.crt\n", "tlsClientCa needs tlsCert beside it"],
    ["allowPlaintext: true\n", "allowPlaintext needs tlsCert beside it"],
    ["data: ''\n", "must not be empty; allowed is a path"],
    ["retainAge: never\n", '"never" is no duration'],
    [
      "retainBytes: 64KiB\n",
      "segmentBytes is 67108864 bytes, more than is retained, and whole segments are removed; allowed is at most retainBytes, 65536",
    ],
    ["segmentBytes: 64KiB\n", "allowed is at most segmentBytes, 65536"],
    ["retain: 1d\n", ':1: retain is no setting; "sluice config show" lists all of them'],
    ["retain_age: 1d\n", ":1: retain_age is no setting: did you mean retainAge?"],
    ["limits:\n  entryBytsMax: 1MiB\n", ":2: limits.entryBytsMax is no setting: did you mean limits.entryBytesMax?"],
    ["limits: 3\n", ":1: limits is a group"],
    ["logs: [audit]\n", ":1: logs is a group: names of logs stand indented below it"],
    ["logs:\n  audit: 3\n", ":2: logs.audit is a group"],
    ["logs:\n  Audit: {}\n", ':2: "Audit" is no name of a log: a log\'s name has 1 to 63 lower-case letters'],
    ["logs:\n  audit:\n    quota: 1GiB\n", ":3: logs.audit.quota is no setting; a log has segmentBytes, retainBytes"],
    [
      "logs:\n  audit:\n    retainAges: 1d\n",
      ":3: logs.audit.retainAges is no setting: did you mean logs.audit.retainAge?",
    ],
    ["logs:\n  audit:\n    retainAge: 1y\n", ':3: logs.audit.retainAge: "1y" is no duration'],
    ["logs:\n  audit:\n    retainBytes: [1]\n", ":3: logs.audit.retainBytes must have one value"],
    [
      "logs:\n  audit:\n    retainBytes: 1MiB\n",
      "segmentBytes is 67108864 bytes, more than is retained, and whole segments are removed; allowed is at most logs.audit.retainBytes, 1048576",
    ],
    ["routes:\n  a: B\n", ':1: routes: "a=B" is no route; "B" is no name of a log'],
    ["metrics:\n  scrape: host:9100\n", ':2: metrics.scrape: "host:9100" is no target: "host:9100" is no http URL'],
    [
      "metrics:\n  scrape:\n    a:\n      url: http://h/\n      colour: red\n",
      '"colour" is no option; allowed is [JOB=]URL',
    ],
    ["routes: audit\n", ':1: routes: "audit" is no route; allowed is APPLICATION=LOG'],
    ["routes:\n  - '=audit'\n", '"=audit" is no route'],
    ["heartbeat: [1s, 2s]\n", ":1: heartbeat must have one value"],
    ["heartbeat:\n", ":1: heartbeat must have one value"],
    ["- a\n", ":1: must be a map of settings"],
    ["heartbeat: 1s\nheartbeat: 2s\n", ":2: is no valid YAML: Map keys must be unique"],
    ["heartbeat: 'x\n", "is no valid YAML"],
  ])("%j", async (text, complaint) => {
    await writeConfig(text);
    const [problem] = await problemsOf();
    expect(problem).toContain(complaint);
  });

  test("all problems at once, each with its place", async () => {
    await writeConfig("logLevel: loud\n");
    const problems = await problemsOf({
      environment: { SLUICE_HEARTBEAT: "x" },
      flags: new Map([["segmentBytes", "tiny"]]),
    });
    expect(problems).toEqual([
      expect.stringMatching(/sluice\.yaml:1: logLevel: /u),
      expect.stringMatching(/^--segment-bytes: segmentBytes: "tiny" is no size/u),
      expect.stringMatching(/^SLUICE_HEARTBEAT: heartbeat: "x" is no duration/u),
    ]);
  });

  test("a file that was asked for and is not there, or cannot be read", async () => {
    expect(await problemsOf({ file: "other.yaml" })).toEqual([
      `Cannot read the configuration ${join(folder, "other.yaml")}: there is no such file`,
    ]);
    expect(await problemsOf({ environment: { SLUICE_CONFIG: "." } })).toEqual([
      `Cannot read the configuration ${folder} (named by SLUICE_CONFIG): it is a folder`,
    ]);
    await writeConfig(`# ${"x".repeat(1024 * 1024)}\n`);
    expect((await problemsOf())[0]).toContain("the limit is 1048576");
  });
});

test("a misspelt variable is pointed out, a platform's variable is not", async () => {
  const { warnings } = await load({
    environment: {
      SLUICE_HEARTBEET: "1s",
      SLUICE_PORT: "tcp://10.0.0.1:8080",
      SLUICE_SERVICE_HOST: "10.0.0.1",
      SLUICE_SERVER: "x:1",
    },
  });
  expect(warnings).toEqual(["SLUICE_HEARTBEET is not read: did you mean SLUICE_HEARTBEAT?"]);
});

test("who is told of what somebody misses who is away", async () => {
  const text = `
notifications:
  away: 1m
  webhooks:
    pager: https://pager.example/in
    shop: { url: "http://127.0.0.1:9/", secretFile: keys/shop, types: "order.*|mail.new", minPriority: 4 }
  webPushSubject: mailto:ops@example.org
  webPushHosts: ["*.push.example", "http://127.0.0.1:9000"]
`;
  await writeConfig(text);
  const { notifications } = (await load()).config;
  expect(notifications).toMatchObject({
    awayMs: 60_000,
    webhooks: [
      { name: "pager", secretFile: undefined, types: [], minPriority: 0 },
      { name: "shop", types: ["order.*", "mail.new"], minPriority: 4 },
    ],
    webPush: { subject: "mailto:ops@example.org", hosts: ["*.push.example", "http://127.0.0.1:9000"] },
  });
  expect(notifications.webhooks[1]!.secretFile).toMatch(/^\/.*\/keys\/shop$/u);
  for (const [key, value, why] of [
    ["webhooks", "pager=ftp://x", "is no http URL"],
    ["webPushSubject", "ops", "mailto:ADDRESS"],
    ["webPushHosts", "https://push.example/path", "the name of a host"],
  ] as const) {
    await writeConfig(`notifications:\n  ${key}: "${value}"\n`);
    await expect(load(), key).rejects.toThrow(why);
  }
});
