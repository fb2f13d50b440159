// An OpenTelemetry collector for tests: takes OTLP/gRPC exports, keeps them, and fails as the test says.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type ExportLogsServiceRequest,
  type ExportLogsServiceResponseSchema,
  OtlpLogsService,
  type ResourceLogs,
} from "@sluice/api";
import { type Call, createServer, listen, serve } from "@sluice/rpc";

type Answer = MessageInitShape<typeof ExportLogsServiceResponseSchema>;

export interface Collector extends AsyncDisposable {
  readonly address: string;
  /** What was answered well, in order. */
  readonly requests: ExportLogsServiceRequest[];
  /** How many requests came, those included that failed. */
  readonly attempts: number;
  /** Of all requests. */
  readonly resourceLogs: readonly ResourceLogs[];
  /** The bodies of all records, where they are strings. */
  readonly bodies: readonly string[];
  /** Asked before each answer: throw to fail, or answer something else than "all is taken". */
  answer: (attempt: number, request: ExportLogsServiceRequest, call: Call) => Answer | Promise<Answer>;
}

export async function openCollector(): Promise<Collector> {
  const requests: ExportLogsServiceRequest[] = [];
  let attempts = 0;
  const server = createServer({
    services: [
      serve(OtlpLogsService, {
        async export(request, call) {
          const response = await collector.answer(++attempts, request, call);
          requests.push(request);
          return response;
        },
      }),
    ],
  });
  const listener = await listen(server, { port: 0 });
  const collector: Collector = {
    address: listener.address,
    requests,
    get attempts() {
      return attempts;
    },
    get resourceLogs() {
      return requests.flatMap((request) => request.resourceLogs);
    },
    get bodies() {
      return bodiesOf(this.resourceLogs);
    },
    answer: () => ({}),
    [Symbol.asyncDispose]: () => listener.drain({ graceMs: 0 }),
  };
  return collector;
}

/** The bodies that are strings. */
export function bodiesOf(all: readonly ResourceLogs[]): string[] {
  return all
    .flatMap(({ scopeLogs }) => scopeLogs)
    .flatMap(({ logRecords }) => logRecords)
    .map(({ body }) => (body?.value.case === "stringValue" ? body.value.value : ""));
}
