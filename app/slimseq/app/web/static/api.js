// Requests to the service. Errors carry the problem (RFC 9457) that the service answered with.

import { askForKey, storedKey } from "./key.js";

/** An error that the service answered with, or a failed connection (`status` 0). */
export class ProblemError extends Error {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.title = problem.title;
    this.status = problem.status;
    this.requestId = problem.request_id;
  }
}

/** Resolves a path beside the page, so that the page also works below a path prefix. */
function address(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI.split("#")[0]);
}

async function problemOf(response) {
  const fallback = {
    title: response.statusText || "Error",
    status: response.status,
    detail: `The service answered ${response.status}.`,
  };
  try {
    return { ...fallback, ...(await response.json()) };
  } catch {
    return fallback;
  }
}

async function request(method, path, options = {}) {
  const { body, signal, accept = "application/json" } = options;
  const headers = { Accept: accept };
  const key = storedKey();
  if (key !== null) headers.Authorization = `Bearer ${key}`;
  // The browser sets the type of a form, with its boundary.
  const isForm = body instanceof FormData;
  if (body !== undefined && !isForm) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(address(path), {
      method,
      headers,
      signal,
      body: body === undefined || isForm ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ProblemError({
      title: "No connection",
      status: 0,
      detail: "The service does not answer. Is it running?",
    });
  }
  if (response.status === 401 && (await askForKey(key, method !== "GET"))) return request(method, path, options);
  if (!response.ok) throw new ProblemError(await problemOf(response));
  return response;
}

export async function getJson(path, options) {
  return (await request("GET", path, options)).json();
}

export async function getText(path, options) {
  return (await request("GET", path, { ...options, accept: "text/plain" })).text();
}

/** Posts JSON or a form. Returns the answer, or null if it has no body. */
export async function post(path, body, options) {
  const response = await request("POST", path, { ...options, body });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export async function remove(path, options) {
  const text = await (await request("DELETE", path, options)).text();
  return text ? JSON.parse(text) : null;
}

/** Yields the Server-Sent Events of a generation as `{name, data}`. An `error` event is thrown. */
export async function* streamEvents(path, body, signal) {
  const response = await request("POST", path, {
    body: { ...body, stream: true },
    signal,
    accept: "text/event-stream",
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      pending += value;
      const blocks = pending.split("\n\n");
      pending = blocks.pop();
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event === null) continue;
        if (event.name === "error") throw new ProblemError(event.data);
        yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parseEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}
