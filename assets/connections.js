// Both lanes' connections, on a thread of their own: what the page draws holds up neither lane, and what comes is stamped here, by
// one clock, as soon as its text is there. It knows nothing of what the texts say.
//
// The page says:   {socket, open: url}  {socket, send: text}  {socket, close: true}  {request, url, headers}
//                  {taken: how many of the lists below it has taken since it last said so}
// It is told:      [socket, at_ms, text, …]   of what came since the last time; instead of a text [code, reason] where the socket's end came
//                  {request, sent_ms, at_ms, status, text, etag, retry_after}   or {request, timed_out}
"use strict";

// A task of the page's for each message would cost it more than the message does: what comes within this time goes over together.
const APART_MS = 8;
// Of messages that the page has not said that it took: it says so now and then, as each word back costs it about as much as a message.
const MOST_HANDED = 16; // twice as many as it says at a time (TAKEN in frontend/src/lane/connections.rs)
// In characters, of what was not handed over. A page that is so far behind reads on from its cursor later.
const MOST_WAITING = 32 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

const now_ms = () => performance.timeOrigin + performance.now();

let socket = null;
let number = 0;
let waiting = [];
let characters = 0;
let handed = 0;
let is_due = false;
let next_ms = 0;

function hand_over() {
  if (handed >= MOST_HANDED || is_due || waiting.length === 0) return;
  const wait_ms = next_ms - performance.now();
  if (wait_ms > 0) {
    is_due = true;
    setTimeout(() => {
      is_due = false;
      next_ms = 0;
      hand_over();
    }, wait_ms);
    return;
  }
  postMessage(waiting);
  next_ms = performance.now() + APART_MS;
  handed += 1;
  waiting = [];
  characters = 0;
}

function open(own_number, url) {
  close();
  const own = (socket = new WebSocket(url));
  number = own_number;
  const came = (what) => {
    if (own !== socket) return;
    waiting.push(own_number, now_ms(), what);
    characters += what.length;
    if (Array.isArray(what)) {
      close();
    } else if (characters > MOST_WAITING) {
      came([4000, "the page does not keep up with what comes"]);
    }
    hand_over();
  };
  own.onmessage = ({ data }) => came(typeof data === "string" ? data : [4000, "a message is no text"]);
  own.onclose = ({ code, reason }) => came([code, reason]);
}

function close() {
  if (socket) socket.close();
  socket = null;
}

async function get({ request, url, headers }) {
  const sent_ms = now_ms();
  try {
    const response = await fetch(url, { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    const at_ms = now_ms();
    const [etag, retry_after] = [response.headers.get("etag"), response.headers.get("retry-after")];
    postMessage({ request, sent_ms, at_ms, status: response.status, text, etag, retry_after });
  } catch (error) {
    postMessage({ request, timed_out: error.name === "TimeoutError" });
  }
}

onmessage = ({ data }) => {
  if (data.taken) {
    handed -= data.taken;
    hand_over();
  } else if (data.url) {
    get(data);
  } else if (data.open) {
    open(data.socket, data.open);
  } else if (socket && data.socket === number) {
    if (data.close) close();
    else if (socket.readyState === WebSocket.OPEN) socket.send(data.send);
  }
};
