// The certificate of the addresses with TLS: read from its files, and again when they change.
//
// A1. What cannot be used replaces nothing: the last good pair stays, and the log says why.
// A2. Certificate and key are two files and change one after the other: a pair that does not fit is complained of when it
//     is still the same at the next look, and once.
import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createSecureContext, type TlsOptions } from "node:tls";
import { SluiceError } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";
import type { Logger } from "../telemetry/logger.ts";

/** Absolute paths. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Absent: clients need no certificate. */
  readonly clientCa: string | undefined;
}

export interface Certificates extends Disposable {
  /** What to listen with. */
  readonly tls: TlsOptions;
  /** From here on looks for changes and hands out what is to be used instead. */
  watch(onRenewed: (tls: TlsOptions) => void): void;
}

export interface CertificatesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How often the files are looked at, in ms: a renewal is no emergency, and small files are read from memory. */
const LOOK_EVERY_MS = 1000;

/** Reads the files. @throws SluiceError that says which cannot be used, and why. */
export async function openCertificates(files: TlsFiles, options: CertificatesOptions): Promise<Certificates> {
  const pair = await readPair(files);
  checkPair(pair, files);
  options.logger.debug({ event: "certificate-loaded", ...describe(pair) }, "certificate loaded");
  return new WatchedCertificates(files, pair, options);
}

interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer | undefined;
}

class WatchedCertificates implements Certificates {
  readonly #files: TlsFiles;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #pair: Pair;
  /** What was found and could not be used: its bytes, or why they could not be read. */
  #suspect: { readonly found: Pair | string; isReported: boolean } | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #isClosed = false;

  constructor(files: TlsFiles, pair: Pair, { clock, logger }: CertificatesOptions) {
    this.#files = files;
    this.#pair = pair;
    this.#clock = clock;
    this.#logger = logger;
  }

  get tls(): TlsOptions {
    return tlsOf(this.#pair);
  }

  watch(onRenewed: (tls: TlsOptions) => void): void {
    if (this.#isClosed) return;
    this.#timer = this.#clock.setTimer(() => {
      void this.#look(onRenewed).then(() => this.watch(onRenewed));
    }, LOOK_EVERY_MS);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#timer?.cancel();
  }

  /** Never rejects. */
  async #look(onRenewed: (tls: TlsOptions) => void): Promise<void> {
    let found: Pair | string = "";
    try {
      found = await readPair(this.#files);
      if (this.#isClosed || isSame(found, this.#pair)) {
        this.#suspect = undefined;
        return;
      }
      checkPair(found, this.#files);
      onRenewed(tlsOf(found));
      this.#pair = found;
      this.#suspect = undefined;
      this.#logger.info({ event: "certificate-renewed", ...describe(found) }, "certificate renewed");
    } catch (error) {
      this.#doubt(found, error instanceof Error ? error.message : String(error));
    }
  }

  /** A2 */
  #doubt(found: Pair | string, reason: string): void {
    const what = typeof found === "string" ? reason : found;
    const before = this.#suspect;
    if (before === undefined || !isSame(before.found, what)) {
      this.#suspect = { found: what, isReported: false };
    } else if (!before.isReported) {
      before.isReported = true;
      const kept = describe(this.#pair);
      this.#logger.error({ event: "certificate-refused", reason, ...kept }, `${reason}; the one before stays in use`);
    }
  }
}

async function readPair({ cert, key, clientCa }: TlsFiles): Promise<Pair> {
  return {
    cert: await readPem("certificate", cert),
    key: await readPem("private key", key),
    ca: clientCa === undefined ? undefined : await readPem("clients' authorities", clientCa),
  };
}

const READ_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user may not read it",
  EISDIR: "it is a folder",
};

async function readPem(what: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    throw unusable(`Cannot read the ${what} ${path}: ${READ_ERRORS[code] ?? message}`, error);
  }
}

/** @throws SluiceError that names the file of which it is. */
function checkPair(pair: Pair, files: TlsFiles): void {
  const cert = check(() => new X509Certificate(pair.cert), `Cannot use ${files.cert}: it holds no certificate (PEM)`);
  const key = check(
    () => createPrivateKey(pair.key),
    `Cannot use ${files.key}: it holds no private key (PEM) that needs no passphrase`,
  );
  if (!cert.checkPrivateKey(key)) {
    throw unusable(`Cannot use the certificate ${files.cert}: the key ${files.key} is that of another`, undefined);
  }
  const { ca, ...own } = pair;
  if (ca !== undefined)
    check(() => new X509Certificate(ca), `Cannot use ${files.clientCa}: it holds no certificate (PEM)`);
  // What is left: a chain that is cut, a key too short.
  check(() => createSecureContext(tlsOf({ ...own, ca })), `Cannot use the certificate ${files.cert}`);
}

function check<T>(read: () => T, complaint: string): T {
  try {
    return read();
  } catch (error) {
    throw unusable(`${complaint}: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

function unusable(message: string, cause: unknown): SluiceError {
  return new SluiceError("failed-precondition", message, { reason: "CERTIFICATE_UNUSABLE" }, { cause });
}

function tlsOf({ cert, key, ca }: Pair): TlsOptions {
  return { cert, key, ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }) };
}

function isSame(one: Pair | string, other: Pair | string): boolean {
  if (typeof one === "string" || typeof other === "string") return one === other;
  const isSameCa = one.ca === undefined || other.ca === undefined ? one.ca === other.ca : one.ca.equals(other.ca);
  return one.cert.equals(other.cert) && one.key.equals(other.key) && isSameCa;
}

function describe({ cert }: Pair): { subject: string; validTo: string } {
  const { subject, validTo } = new X509Certificate(cert);
  return { subject: subject.replaceAll("\n", ", "), validTo };
}
