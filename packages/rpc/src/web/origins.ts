// Which web pages may call: the browser's same-origin policy, answered by an explicit list (the Fetch standard's CORS).
//
// O1. An origin is answered by its own name, never by "*".
// O2. A page whose origin is neither listed nor the server's own gets 403 for everything, also where it could not read
//     the answer: a POST has its effect all the same.
// O3. Without TLS only an IP address or localhost counts as the server's own: any other name may be a page's that points
//     it here (DNS rebinding). Over TLS the certificate has settled that.
import { isIP } from "node:net";

/** Which pages of other origins a browser lets call (CORS). */
export interface OriginOptions {
  /** Origins of pages that may call besides the server's own: "https://console.example". Default: none. */
  readonly origins?: readonly string[];
  /** Whether listed pages may send cookies and client certificates. Default: false. */
  readonly allowCredentials?: boolean;
}

/** What the `origin` of a request means. */
export type OriginVerdict = "own" | "listed" | "refused";

/** How long a browser may keep the answer to a preflight, in seconds; Chromium keeps none longer. */
const PREFLIGHT_MAX_AGE_S = 7200;

export class Origins {
  readonly #listed: ReadonlySet<string>;
  readonly #allowCredentials: boolean;

  /** @throws TypeError for what is no origin. */
  constructor({ origins = [], allowCredentials = false }: OriginOptions) {
    for (const origin of origins) {
      if (URL.parse(origin)?.origin === origin) continue;
      throw new TypeError(`Cannot allow the origin "${origin}": write it as https://host or http://host:port`);
    }
    this.#listed = new Set(origins);
    this.#allowCredentials = allowCredentials;
  }

  judge(origin: string, authority: string, isEncrypted: boolean): OriginVerdict {
    if (this.#listed.has(origin)) return "listed";
    const own = URL.parse(`${isEncrypted ? "https" : "http"}://${authority}`);
    if (own === null || own.origin !== origin) return "refused";
    return isEncrypted || isOwnName(own.hostname) ? "own" : "refused"; // O3
  }

  /** The fields that let a page of this listed origin read an answer, with the names of the answer's own fields. */
  answerFields(origin: string, names: readonly string[]): string[] {
    const fields = ["access-control-allow-origin", origin, "vary", "origin"];
    if (this.#allowCredentials) fields.push("access-control-allow-credentials", "true");
    if (names.length > 0) fields.push("access-control-expose-headers", names.join(", "));
    return fields;
  }

  /** The headers that answer a page's question whether it may send such a request. */
  preflightFields(origin: string, method: string, headers: string | undefined): Record<string, string> {
    return {
      "access-control-allow-origin": origin,
      vary: "origin",
      ...(this.#allowCredentials ? { "access-control-allow-credentials": "true" } : {}),
      "access-control-allow-methods": method,
      ...(headers === undefined ? {} : { "access-control-allow-headers": headers }),
      "access-control-max-age": String(PREFLIGHT_MAX_AGE_S),
    };
  }
}

function isOwnName(hostname: string): boolean {
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return isIP(host) !== 0 || host === "localhost" || host.endsWith(".localhost");
}
