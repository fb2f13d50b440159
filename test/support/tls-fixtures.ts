// The certificates of test/fixtures/tls, and the settings by which `sluice serve` uses them.
import { fileURLToPath } from "node:url";

/** The path of one of them: "localhost.crt", "client.key". */
export function tlsFixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
}

/** TLS with the certificate of localhost. */
export const tlsSettings = ["--tls-cert", tlsFixture("localhost.crt"), "--tls-key", tlsFixture("localhost.key")];

/** Besides: clients must show theirs, `client.crt`. */
export const mutualTlsSettings = [...tlsSettings, "--tls-client-ca", tlsFixture("client.crt")];
