// A worker to be killed: `node crash-queue-worker.ts HOST:PORT NAME offers|starts SEED`. It says on stdout, a line each and at once,
// what it does with a job: "run BODY ATTEMPT", "acking BODY ATTEMPT", "answer BODY ATTEMPT CODE", "reject BODY ATTEMPT".
import { writeSync } from "node:fs";
import { type Delivery, type Lease, NackKind, ResultCode } from "@sluice/api";
import { seededRandom } from "./crash-random.ts";
import { openQueueClient, type RemoteWorker } from "./queue-client.ts";

const [, , address = "", name = "", how = "", seed = "1"] = process.argv;
const SLOTS = 10;
const random = seededRandom(Number(seed));
const isOffered = how === "offers";

/** Jobs in hand, by attempt. */
const hand = new Map<bigint, { readonly body: string; readonly lease: Lease; isAcking: boolean }>();
let token = new Uint8Array(0);
let workerId = name;

const say = (...words: unknown[]) => void writeSync(1, `${words.join(" ")}\n`);

/** One stream, until it ends. */
async function work(): Promise<void> {
  await using client = openQueueClient(address);
  const held = [...hand.values()].map(({ lease }) => lease);
  const worker = client.work(
    {
      queue: "crash",
      workerId,
      sessionToken: token,
      held,
      explicitStart: isOffered,
      flow: { seen: 0n, window: Math.max(0, SLOTS - held.length), windowBytes: 0n },
    },
    { waitForReady: true },
  );
  await worker.until(() => worker.all("session").length === 1);
  const session = worker.all("session")[0]!;
  token = session.sessionToken.slice();
  workerId = session.workerId;
  for (const { attempt } of session.lost) hand.delete(attempt);
  const running: Promise<void>[] = [...hand.values()].map(({ lease }) => finish(worker, lease));
  let taken = 0;
  let told = 0;
  for (;;) {
    await worker.toldMore(told);
    for (; told < worker.told.length; told++) {
      const message = worker.told[told]!;
      if (message.case === "leaseLost") for (const { attempt } of message.value.leases) hand.delete(attempt);
      if (message.case !== "delivery") continue;
      taken++;
      running.push(take(worker, message.value));
    }
    worker.flow(taken, SLOTS - hand.size);
    await Promise.race([Promise.all(running.splice(0)), worker.ending()]);
    worker.flow(taken, SLOTS - hand.size);
  }
}

async function take(worker: RemoteWorker, { lease, job }: Delivery): Promise<void> {
  const body = Buffer.from(job!.body).toString();
  if (isOffered) {
    const [started] = await worker.startJobs([lease!]);
    if (started?.code !== ResultCode.OK) return;
  }
  hand.set(lease!.attempt, { body, lease: lease!, isAcking: false });
  say("run", body, lease!.attempt);
  await finish(worker, lease!);
}

async function finish(worker: RemoteWorker, lease: Lease): Promise<void> {
  const job = hand.get(lease.attempt);
  if (job === undefined) return;
  const dice = random();
  if (!job.isAcking && dice < 0.1) {
    const kind = dice < 0.02 ? NackKind.REJECT : dice < 0.06 ? NackKind.RETRY : NackKind.RETURN;
    if (kind === NackKind.REJECT) say("reject", job.body, lease.attempt);
    worker.say({ case: "nack", value: { lease, kind, reason: "by chance" } });
    hand.delete(lease.attempt);
    return;
  }
  job.isAcking = true;
  say("acking", job.body, lease.attempt);
  const [result] = await worker.ack([lease]);
  say("answer", job.body, lease.attempt, result!.code);
  hand.delete(lease.attempt);
}

// Waiting for a server alone keeps no process alive.
setInterval(() => {}, 60_000);
for (;;) {
  // Streams end when the server is killed: the next one waits for it.
  await work().catch(() => undefined);
}
