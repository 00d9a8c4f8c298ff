// Requests. An error is thrown with the sentence that the server said.

export class Refused extends Error {
  constructor(status, message, restarted = false) {
    super(message);
    this.status = status;
    /** Whether another server answers than the one that the page is from. */
    this.restarted = restarted;
  }
}

/** What the server calls itself; one that is started again has another name, and other names for its images. */
let server = null;

async function isAnother() {
  if (server === null) return false;
  const response = await fetch("/api/session").catch(() => null);
  return response?.ok ? (await response.json()).server !== server : false;
}

const AGAIN_MS = 300;

/** A connection may end just when it is used: what is only read, or answered, is asked for once more. */
async function reach(path, options) {
  const again = !options.method || path === ANSWERS;
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError" || !again) throw error;
  }
  await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  return fetch(path, options);
}

async function send(path, options = {}) {
  let response;
  try {
    response = await reach(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
  if (response.ok) return response;
  if (response.status === 404 && path.startsWith("/api/images/") && (await isAnother())) {
    throw new Refused(404, "The server was started again: reload this page.", true);
  }
  let message = `${response.status} ${response.statusText}`;
  try {
    message = (await response.json()).error ?? message;
  } catch {
    if (response.status === 413) message = "The file is too large.";
  }
  throw new Refused(response.status, message);
}

const ANSWERS = "/api/answers";

const json = async (path, options) => (await send(path, options)).json();

const body = (content, signal) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(content),
  signal,
});

const image = (key) => `/api/images/${encodeURIComponent(key)}`;

export async function session() {
  const session = await json("/api/session");
  server = session.server;
  return session;
}
export const gallery = () => json("/api/gallery");
export const describe = (key) => json(image(key));
export const truth = (key) => json(`${image(key)}/truth`);
export const picture = (key) => `${image(key)}/image.png`;
export const thumbnail = (key) => `${image(key)}/thumbnail.jpg`;
export const upload = (file) =>
  json(`/api/uploads?name=${encodeURIComponent(file.name)}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: file,
  });
export const answer = (prompt, signal) => json(ANSWERS, body(prompt, signal));
export const join = (key) => json(`${image(key)}/encoding`, { method: "POST" });
export const encoding = (key) => json(`${image(key)}/encoding`);
export const leave = (key, ticket) =>
  fetch(`${image(key)}/encoding?ticket=${ticket}`, { method: "DELETE", keepalive: true }).catch(() => {});
export const runs = () => json("/api/runs");
export const results = () => json("/api/results");
export const run = (experiment, name) =>
  json(`/api/runs/${encodeURIComponent(experiment)}/${encodeURIComponent(name)}`);
export const figure = (experiment, kind, format) =>
  `/api/figures/${encodeURIComponent(experiment)}/${kind}.${format}`;

/** A file to take away: its content and name, or where it was written. */
export async function take(what, content, save) {
  const response = await send(`/api/exports/${what}?save=${save}`, body(content));
  if (save) return { path: (await response.json()).path };
  const name = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "export";
  return { blob: await response.blob(), name };
}
