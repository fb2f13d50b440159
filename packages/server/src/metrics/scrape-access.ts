// What a target wants of whoever asks it: who it trusts, and a name or a certificate to show. Held in files that are read anew for
// each scrape, so that what is renewed there is used at once, as Prometheus does.
import type { RequestOptions } from "node:https";

/** Paths, and what is no secret. */
export interface ScrapeAccess {
  /** Certificates in PEM that the target's must come from; undefined: the system's authorities. */
  readonly caFile?: string;
  /** Our own certificate and its key, in PEM; both or none. */
  readonly certFile?: string;
  readonly keyFile?: string;
  /** Name that the target's certificate must have; undefined: the URL's. */
  readonly serverName?: string;
  readonly bearerTokenFile?: string;
  /** Both or none. */
  readonly username?: string;
  readonly passwordFile?: string;
}

export const ACCESS_FILES = ["caFile", "certFile", "keyFile", "bearerTokenFile", "passwordFile"] as const;
const ACCESS_OPTIONS: ReadonlySet<string> = new Set([...ACCESS_FILES, "serverName", "username"]);

export function isAccessOption(name: string): name is keyof ScrapeAccess {
  return ACCESS_OPTIONS.has(name);
}

/** What does not fit together, if it does not. */
export function findAccessProblem(url: URL, access: ScrapeAccess): string | undefined {
  const { caFile, certFile, keyFile, serverName, bearerTokenFile, username, passwordFile } = access;
  if ((certFile === undefined) !== (keyFile === undefined)) return "certFile and keyFile stand together";
  if ((username === undefined) !== (passwordFile === undefined)) return "username and passwordFile stand together";
  const names = [url.username !== "", username !== undefined, bearerTokenFile !== undefined].filter(Boolean);
  if (names.length > 1)
    return "a user in the URL, username and bearerTokenFile are three ways to say who asks; take one";
  const isTls = caFile !== undefined || certFile !== undefined || serverName !== undefined;
  if (isTls && url.protocol !== "https:") return "caFile, certFile and serverName are for https";
  return undefined;
}

/** Reads the files. @throws Error that names the file, and not what is in it */
export async function openAccess(
  access: ScrapeAccess,
  readFile: (path: string) => Promise<Buffer | undefined>,
): Promise<Pick<RequestOptions, "ca" | "cert" | "key" | "servername"> & { readonly authorization?: string }> {
  const read = async (name: (typeof ACCESS_FILES)[number]): Promise<Buffer> => {
    const path = access[name]!;
    const bytes = await readFile(path).catch((error: unknown) => {
      throw new Error(`its ${name} ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    });
    if (bytes === undefined) throw new Error(`its ${name} ${path} does not exist`);
    return bytes;
  };
  const { caFile, certFile, serverName, bearerTokenFile, username } = access;
  const secret = async (name: "bearerTokenFile" | "passwordFile"): Promise<string> => {
    const text = (await read(name)).toString("utf8").trim();
    // A line's end in a field of the head would be refused with its text in the error.
    if (!/^[^\p{Cc}]+$/u.test(text)) throw new Error(`its ${name} ${access[name]} holds no single line of text`);
    return text;
  };
  return {
    ...(caFile === undefined ? {} : { ca: await read("caFile") }),
    ...(certFile === undefined ? {} : { cert: await read("certFile"), key: await read("keyFile") }),
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(bearerTokenFile === undefined ? {} : { authorization: `Bearer ${await secret("bearerTokenFile")}` }),
    ...(username === undefined ? {} : { authorization: basic(username, await secret("passwordFile")) }),
  };
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}
