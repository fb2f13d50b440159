import { expect, test } from "vitest";
import { parseSecret, parseWebhook } from "./webhook-settings.ts";

test("a webhook is a name and a URL, and what is special about it", () => {
  expect(parseWebhook("pager=https://pager.example/in?team=a")).toEqual({
    name: "pager",
    url: new URL("https://pager.example/in?team=a"),
    secretFile: undefined,
    types: [],
    minPriority: 0,
  });
  expect(parseWebhook("b=http://127.0.0.1:9/; secretFile=keys/b ;types=order.*|mail.new;minPriority=4")).toMatchObject({
    secretFile: "keys/b",
    types: ["order.*", "mail.new"],
    minPriority: 4,
  });
});

test.each([
  ["https://pager.example", "it has no name"],
  ["=https://pager.example", "it has no name"],
  ["pager=pager.example", '"pager.example" is no http URL'],
  ["pager=file:///etc/passwd", '"file:///etc/passwd" is no http URL'],
  ["pager=https://a.example;minPriority=8", '"minPriority=8" is no option'],
  ["pager=https://a.example;secret=x", '"secret=x" is no option'],
  ["pager=https://a.example;types=", '"types=" is no option'],
])("%s is none", (text, why) => {
  expect(parseWebhook(text)).toBe(why);
});

test("a secret is what stands in its file, or base64 as Standard Webhooks has it", () => {
  expect(parseSecret(" word of both\n")).toEqual(Buffer.from("word of both"));
  expect(parseSecret("whsec_AAEC")).toEqual(Buffer.from([0, 1, 2]));
});
