// A small web shop with a structured log, so that there is something real to stream: it serves HTTP, and its customers are
// requests that it sends to itself. It writes one JSON object a line to stdout, as pino does.
//
//   node examples/shop.js [ORDERS]      ORDERS: how many orders to place; 0 = until Ctrl-C; default 40
//
// Plain JavaScript, so that any Node from 18 on runs it.

import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

const PACE_MS = 25;
const orders = Number(process.argv[2] ?? 40);
const stock = new Map([
  ["kettle", 12],
  ["teapot", 6],
  ["cup", 30],
]);

/** Levels by pino's numbers. */
const levels = { info: 30, warn: 40, error: 50 };

function log(level, msg, fields) {
  process.stdout.write(`${JSON.stringify({ level: levels[level], time: Date.now(), msg, ...fields })}\n`);
}

/** Takes one piece of an article off the shelf. Answers an HTTP status. */
function order(article) {
  const left = stock.get(article);
  if (left === undefined) return 404;
  if (left === 0) return 409;
  stock.set(article, left - 1);
  if (left - 1 === 2) log("warn", `only 2 of ${article} left`, { article, left: 2 });
  return 201;
}

function answer(request, response) {
  const startMs = performance.now();
  const article = new URL(request.url ?? "/", "http://shop").searchParams.get("article") ?? "";
  const status = order(article);
  response.writeHead(status).end();
  const fields = {
    method: request.method,
    article,
    status,
    took_ms: Number((performance.now() - startMs).toFixed(2)),
  };
  if (status === 201) log("info", `sold one ${article}`, fields);
  else if (status === 409) log("error", `${article} is sold out`, fields);
  else log("warn", `nobody makes a ${article}`, fields);
}

async function shop(address) {
  const wishes = [...stock.keys(), "cup", "teapot", "samovar"];
  for (let placed = 0; orders === 0 || placed < orders; placed++) {
    const article = wishes[placed % wishes.length];
    await fetch(`http://127.0.0.1:${address.port}/order?article=${article}`, { method: "POST" });
    await delay(PACE_MS);
  }
}

// A reader at the other end of the pipe may leave first.
process.stdout.on("error", () => process.exit(0));

const server = createServer(answer).listen(0, "127.0.0.1");
await once(server, "listening");
log("info", "the shop is open", { articles: stock.size });
await shop(server.address());
server.closeAllConnections();
server.close();
log("info", "the shop is closed", { orders });
