// A headless Chromium that is told what to do by its DevTools protocol, over two pipes: no port, no dependency, and it ends
// when this process does. https://chromedevtools.github.io/devtools-protocol
//
// D1. Nothing of it is left after disposal: it has closed itself, or its whole process group is killed.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { openTemporaryFolder } from "../../support/temporary-folder.ts";

export interface BrowserOptions {
  /** base64 of SHA-256 of the public keys whose certificates are taken, whoever has signed them. */
  readonly trustedKeys: readonly string[];
}

export interface Browser extends AsyncDisposable {
  openPage(url: string): Promise<Page>;
}

/** A tab. */
export interface Page extends AsyncDisposable {
  /** What the network brought, in order. */
  readonly responses: readonly NetworkResponse[];
  /** The value of an expression in the page, when it is settled. @throws Error with what the page threw */
  evaluate(expression: string): Promise<unknown>;
  /** PNG. */
  screenshot(): Promise<Buffer>;
}

export interface NetworkResponse {
  readonly url: string;
  readonly status: number;
  /** "http/1.1", "h2". */
  readonly protocol: string;
  /** Whether it answers the question that a browser asks before a request to another origin. */
  readonly isPreflight: boolean;
}

type Params = Readonly<Record<string, unknown>>;

interface Message {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
}

const CLOSE_TIMEOUT_MS = 5_000;

const FLAGS = [
  "--headless",
  "--remote-debugging-pipe",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-breakpad",
  "--disable-background-networking",
  "--disable-component-update",
  "--no-first-run",
  "--window-size=900,600",
];

/** Starts it, with a new profile. @param path of the program */
export async function openBrowser(path: string, { trustedKeys }: BrowserOptions): Promise<Browser> {
  const profile = await openTemporaryFolder("browser");
  // Its sandbox refuses to run as root, and a container has often nobody else. Without it no zygote is needed either.
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox", "--no-zygote"] : [];
  const trust = `--ignore-certificate-errors-spki-list=${trustedKeys.join(",")}`;
  const child = spawn(path, [...FLAGS, ...sandbox, trust, `--user-data-dir=${profile.path}`], {
    stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    env: { PATH: process.env["PATH"] ?? "", HOME: profile.path },
    detached: true, // a process group of its own: D1
  });
  const closed = once(child, "close");
  const tools = new DevTools(child.stdio[3] as Writable, child.stdio[4] as Readable);
  child.once("error", (error) => tools.fail(error));
  child.once("exit", (code) => tools.fail(new Error(`The browser ended (${code ?? "by a signal"})`)));
  const end = async (): Promise<void> => {
    const timer = setTimeout(() => child.kill("SIGKILL"), CLOSE_TIMEOUT_MS);
    await tools.ask("Browser.close").catch(() => {}); // it may be gone before it has answered
    await closed;
    clearTimeout(timer);
    killGroup(child.pid);
    await profile[Symbol.asyncDispose]();
  };
  return { openPage: (url) => openPage(tools, url), [Symbol.asyncDispose]: end };
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function openPage(tools: DevTools, url: string): Promise<Page> {
  const { targetId } = await tools.ask("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await tools.ask("Target.attachToTarget", { targetId, flatten: true });
  const session = String(sessionId);
  const responses: NetworkResponse[] = [];
  tools.on(session, "Network.responseReceived", ({ response, type }) => {
    const { url, status, protocol } = response as NetworkResponse;
    responses.push({ url, status, protocol, isPreflight: type === "Preflight" });
  });
  const loaded = new Promise<void>((resolve) => tools.on(session, "Page.loadEventFired", () => resolve()));
  for (const domain of ["Page", "Network", "Runtime"]) await tools.ask(`${domain}.enable`, {}, session);
  await tools.ask("Page.navigate", { url }, session);
  await loaded;
  return {
    responses,
    async evaluate(expression) {
      const params = { expression, awaitPromise: true, returnByValue: true };
      const { result, exceptionDetails } = await tools.ask("Runtime.evaluate", params, session);
      if (exceptionDetails !== undefined) throw new Error(`In the page: ${JSON.stringify(exceptionDetails)}`);
      return (result as { value?: unknown }).value;
    },
    async screenshot() {
      const { data } = await tools.ask("Page.captureScreenshot", {}, session);
      return Buffer.from(String(data), "base64");
    },
    async [Symbol.asyncDispose]() {
      await tools.ask("Target.closeTarget", { targetId });
      tools.forget(session);
    },
  };
}

/** The protocol: JSON objects with a zero byte behind each. */
class DevTools {
  readonly #output: Writable;
  readonly #waiting = new Map<number, PromiseWithResolvers<Params>>();
  readonly #listeners = new Map<string, (params: Params) => void>();
  #lastId = 0;
  #failure: Error | undefined = undefined;

  constructor(output: Writable, input: Readable) {
    this.#output = output;
    output.on("error", (error) => this.fail(error));
    let text = "";
    input.setEncoding("utf8").on("data", (chunk: string) => {
      const parts = (text + chunk).split("\0");
      text = parts.pop() ?? "";
      for (const part of parts) this.#onMessage(JSON.parse(part) as Message);
    });
  }

  ask(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<Params>();
    this.#waiting.set(id, answer);
    this.#output.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return answer.promise;
  }

  /** One listener for each event of a session. */
  on(sessionId: string, method: string, listener: (params: Params) => void): void {
    this.#listeners.set(`${sessionId} ${method}`, listener);
  }

  forget(sessionId: string): void {
    for (const key of this.#listeners.keys()) if (key.startsWith(sessionId)) this.#listeners.delete(key);
  }

  fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
  }

  #onMessage({ id, sessionId = "", method, params = {}, result = {}, error }: Message): void {
    if (id === undefined) {
      this.#listeners.get(`${sessionId} ${method}`)?.(params);
      return;
    }
    const answer = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) answer?.resolve(result);
    else answer?.reject(new Error(error.message));
  }
}
