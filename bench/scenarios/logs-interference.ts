// While readers search a whole log by an expression, others call and follow: what it costs them.

import { runClient } from "../client-run.ts";
import type { InterferenceOutcome, InterferenceTask } from "../clients/interference.ts";
import { takeTurns, withServers } from "../contest.ts";
import { fillLog } from "../filled-log.ts";
import type { CaseOutcome, Measured } from "../report.ts";
import type { Scenario } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const followers = 10;
const timeoutMs = 300_000;
/** How many search at the same time. */
const searchers: readonly number[] = [0, 1, 4];
/** Nothing matches, and no filter of a segment knows that: every byte of every message is looked at. */
const filters = ["message~(re)?fus(ed|al) (by|of) [a-z]+ after \\d+"];

export const logsInterference: Scenario = {
  name: "logs-interference",
  summary: "a unary call and followers while 0, 1 and 4 readers search a large log by an expression; p99",
  async run(context) {
    const count = context.isQuick ? 1_000_000 : 10_000_000;
    const log = await fillLog(context, { count, withText: false });
    return await withServers([sluice(log.data)], async (servers) => {
      const cases: CaseOutcome[] = [];
      for (const searching of searchers) {
        const outcomes: InterferenceOutcome[] = [];
        const deliveries = await takeTurns(servers, context.runs, async ({ process: { address } }) => {
          context.say(`${searching} searching`);
          const rounds = context.isQuick ? 200 : 1000;
          const task: InterferenceTask = { address, searchers: searching, filters, followers, rounds };
          const outcome = await runClient<InterferenceTask, InterferenceOutcome>("interference", task, { timeoutMs });
          outcomes.push(outcome);
          return outcome.deliveries.p99Microseconds / 1000;
        });
        // The first one warmed up.
        const measured = (value: (outcome: InterferenceOutcome) => number): Measured[] => [
          { who: us, samples: outcomes.slice(1).map(value) },
        ];
        const who = searching === 1 ? "1 reader searching" : `${searching} readers searching`;
        const ms = { unit: "ms", isSmallerBetter: true, notes: [] };
        cases.push(
          {
            title: `${who}: p99 of a unary call`,
            ...ms,
            measured: measured((each) => each.calls.p99Microseconds / 1000),
          },
          {
            title: `${who}: p50 of a unary call`,
            ...ms,
            measured: measured((each) => each.calls.p50Microseconds / 1000),
          },
          { title: `${who}: p99 of a delivery`, ...ms, measured: deliveries },
          {
            title: `${who}: the search meanwhile`,
            unit: "searches of the whole log, an hour",
            measured: measured((each) => (each.searches / each.seconds) * 3600),
            notes: [],
          },
        );
      }
      return {
        scenario: "logs-interference",
        runs: context.runs,
        versions: { [us]: ourVersion },
        missing: [],
        cases,
        notes: [
          `the log has ${log.entries} entries, ${Math.round(log.bytes / 1e6)} MB; each reader searches all of it, again and again`,
          `a call is ListApplications; a delivery is an entry on its way from its producer through fdatasync to the last of ${followers} followers, who each want its application only`,
          "call and entry are sent at the same time, every 5 ms at most; one client process for all",
        ],
      };
    });
  },
};
