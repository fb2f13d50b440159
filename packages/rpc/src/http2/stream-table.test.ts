import { expect, test } from "vitest";
import { StreamState } from "./states.ts";
import { StreamTable } from "./stream-table.ts";

/** What a server knows: its client's ids are odd. */
function serverTable(): StreamTable {
  return new StreamTable(1);
}

test("ids beyond the last used are idle, up to it closed, on each side", () => {
  const table = serverTable();
  table.use(5);
  expect([1, 3, 5].map((id) => table.stateOfMissing(id))).toEqual([1, 3, 5].map(() => StreamState.CLOSED));
  expect([7, 2].map((id) => table.stateOfMissing(id))).toEqual([StreamState.IDLE, StreamState.IDLE]);
  table.use(4);
  expect([2, 4, 6].map((id) => table.stateOfMissing(id))).toEqual([
    StreamState.CLOSED,
    StreamState.CLOSED,
    StreamState.IDLE,
  ]);
  expect([table.lastPeerId, table.lastOwnId]).toEqual([5, 4]);
});

test("a reset is remembered until it is forgotten", () => {
  const table = serverTable();
  table.use(9);
  table.rememberReset(3);
  table.rememberReset(9);
  expect(table.stateOfMissing(3)).toBe(StreamState.CLOSED_HERE);
  expect(table.stateOfMissing(5)).toBe(StreamState.CLOSED);
  table.forgetReset(3);
  expect(table.stateOfMissing(3)).toBe(StreamState.CLOSED);
  expect(table.stateOfMissing(9)).toBe(StreamState.CLOSED_HERE);
});

test("a new id does not inherit the reset of the one whose place it takes", () => {
  const table = serverTable();
  for (let id = 1; id <= 32_767; id += 2) {
    table.use(id);
    table.rememberReset(id);
  }
  table.use(32_769);
  expect(table.stateOfMissing(32_769)).toBe(StreamState.CLOSED);
  table.use(32_775);
  expect(table.stateOfMissing(32_773)).toBe(StreamState.CLOSED);
  expect(table.stateOfMissing(32_767)).toBe(StreamState.CLOSED_HERE);
});

test("ids that are passed over in one leap inherit nothing either", () => {
  const table = serverTable();
  for (let id = 1; id <= 101; id += 2) {
    table.use(id);
    table.rememberReset(id);
  }
  table.use(0x7fffffff);
  for (let id = 0x7fffffff; id > 0x7fffffff - 32_768; id -= 2) {
    expect(table.stateOfMissing(id)).toBe(StreamState.CLOSED);
  }
});

test("of an id that is too old to tell, late frames are no error", () => {
  const table = serverTable();
  table.use(1);
  table.use(100_001);
  expect(table.stateOfMissing(1)).toBe(StreamState.CLOSED_HERE);
  table.rememberReset(1);
  table.forgetReset(1);
  expect(table.stateOfMissing(100_001)).toBe(StreamState.CLOSED);
});
