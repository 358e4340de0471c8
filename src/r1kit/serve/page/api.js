// The server's API (OpenAI's chat completions): models, streamed answers, and what can go wrong.

const KEY = "r1kit-key";

/** A request that failed. `status` is HTTP's, or 0 if the server was not reached; `wait` is Retry-After in seconds. */
export class ApiError extends Error {
  constructor(message, status = 0, wait = 0) {
    super(message);
    Object.assign(this, { status, wait });
  }
}

/** Keep the API key until the tab is closed. */
export function setKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Return the models that the server has, by name. */
export async function listModels() {
  const { data } = await (await request("v1/models")).json();
  return new Map(data.map((model) => [model.id, model]));
}

/** Yield the chunks of a streamed chat completion; throw an ApiError if the stream ends too early. */
export async function* streamChat(body, signal) {
  const stream = { stream: true, stream_options: { include_usage: true, continuous_usage_stats: true } };
  const response = await request("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, ...stream }),
    signal,
  });
  for await (const line of lines(response.body)) {
    if (!line.startsWith("data:")) continue; // comments keep the connection open
    const data = line.slice("data:".length).trim();
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ApiError(chunk.error.message, 500);
    yield chunk;
  }
  throw new ApiError("The connection to the server was cut.");
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (hasKey()) headers.Authorization = `Bearer ${sessionStorage.getItem(KEY)}`;
  const response = await reach(() => fetch(path, { ...options, headers, cache: "no-store" }));
  if (response.ok) return response;
  const text = await reach(() => response.text());
  const wait = Number(response.headers.get("Retry-After")) || 0;
  throw new ApiError(messageOf(text) || `The server answered with status ${response.status}.`, response.status, wait);
}

/** Await a network call; what browsers throw when it fails becomes an ApiError, an abort stays one. */
async function reach(call) {
  try {
    return await call();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached.");
  }
}

function messageOf(text) {
  try {
    const { error, detail } = JSON.parse(text);
    return error?.message ?? (typeof detail === "string" ? detail : "");
  } catch {
    return "";
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reach(() => reader.read());
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts;
  }
}
