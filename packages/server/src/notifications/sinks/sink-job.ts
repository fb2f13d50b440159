// What is to be told to somebody who is away, as the jobs of a queue hold it: JSON, so that people can read the dead ones.

export type SinkJob =
  /** One notification of one user to a web server that the configuration names. */
  | { readonly sink: "webhook"; readonly target: string; readonly userId: string; readonly id: number }
  /** The same to a browser of theirs. */
  | { readonly sink: "web-push"; readonly deviceId: string; readonly userId: string; readonly id: number }
  /** One notification of topics or everyone: becomes a job for each browser. */
  | { readonly sink: "fan-out"; readonly id: number; readonly topics: readonly string[]; readonly everyone: boolean };

/** Told apart from what came before and after: the same again is the same job. */
export function jobId(job: SinkJob): string {
  switch (job.sink) {
    case "webhook":
      return JSON.stringify(["webhook", job.target, job.userId, job.id]);
    case "web-push":
      return JSON.stringify(["web-push", job.deviceId, job.userId, job.id]);
    case "fan-out":
      return JSON.stringify(["fan-out", job.id]);
    default:
      return job satisfies never;
  }
}

export function encodeJob(job: SinkJob): Uint8Array {
  return Buffer.from(JSON.stringify(job));
}

/** @throws SyntaxError for what is none */
export function decodeJob(body: Uint8Array): SinkJob {
  const job = JSON.parse(Buffer.from(body).toString("utf8")) as Partial<SinkJob> | null;
  if (job?.sink === "webhook" || job?.sink === "web-push" || job?.sink === "fan-out") return job as SinkJob;
  throw new SyntaxError("This is no job of a sink");
}
