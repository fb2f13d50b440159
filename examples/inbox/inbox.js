// A user's inbox in a page: what is there, what comes, and what is read, here or in another tab. ?user=ann&server=http://…
import { connectNotifications } from "@sluice/client/browser";

const search = new URLSearchParams(location.search);
const user = search.get("user") ?? "ann";
const client = connectNotifications(search.get("server") ?? location.origin);
const inbox = client.watchInbox(user, { itemsMax: 50 });

const element = (selector) => document.querySelector(selector);
const status = element("#status");
element("#user").textContent = user;

/** Draws all of it: fifty rows are nothing for a browser. */
function draw() {
  element("#unread").textContent = String(inbox.counts.unread);
  document.title = inbox.counts.unread === 0 ? "Inbox" : `(${inbox.counts.unread}) Inbox`;
  element("#items").replaceChildren(
    ...inbox.items.map(({ id, title, message, priority, timestamp, state }) => {
      const row = document.createElement("li");
      row.className = [state?.read === true ? "read" : "unread", priority >= 6 ? "urgent" : ""].join(" ");
      const time = new Date(Number(timestamp / 1_000_000n)).toLocaleTimeString();
      // As text, never as HTML: whoever may publish could put a script into it.
      row.textContent = `${time}  ${[title, message].filter((text) => text !== "").join(": ")}`;
      row.onclick = () => client.setState(user, [id], { seen: true, read: true }).catch(fail);
      return row;
    }),
  );
}

function show(event) {
  if (event.kind === "disconnected")
    status.textContent = `connection lost; again in ${Math.ceil(event.retryInMs / 1000)} s`;
  else if (event.kind === "resumed" || event.kind === "sync") status.textContent = "live";
  else draw();
}

function fail(error) {
  status.textContent = error instanceof Error ? error.message : String(error);
}

element("#read-all").onclick = () => client.setState(user, "all", { read: true }).catch(fail);

try {
  for await (const event of inbox) show(event);
} catch (error) {
  fail(error);
}
