// The server's API, and nothing of the page: models, counts, streamed answers, votes. Everything is JSON.

let key = sessionStorage.getItem("llava-key") ?? "";

/** Remember the key for this tab only. */
export function useKey(value) {
  key = value;
  sessionStorage.setItem("llava-key", value);
}

/** What the server said instead of an answer: `message` is for people; `status` is HTTP's, 0 where nothing answered. */
export class Refused extends Error {
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, body, signal) {
  const headers = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Is it still running?", 0);
  }
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    const message = said.error?.message ?? `The server said ${response.status}.`;
    throw new Refused(message, response.status, Number(response.headers.get("Retry-After")) || 0);
  }
  return response;
}

/** The models that the server has, the first one being the one that answers. */
export async function models() {
  return (await (await ask("v1/models")).json()).data;
}

/** How many tokens a request would cost, or null where that can not be known. */
export async function count(request) {
  try {
    return (await (await ask("v1/chat/completions/input_tokens", request)).json()).input_tokens ?? null;
  } catch (error) {
    return null;
  }
}

/** Keep a vote; whether the server keeps votes at all. */
export async function vote(row) {
  try {
    await ask("v1/votes", row);
    return true;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return false;
    throw error;
  }
}

/**
 * Stream an answer.
 *
 * `told(piece)` gets each piece of text, `waits()` is called while the request stands in a queue.
 * Returns {finish, usage}; throws Refused, or an AbortError once `signal` was aborted.
 */
export async function answer(request, signal, told, waits) {
  const body = { ...request, stream: true, stream_options: { include_usage: true } };
  const response = await ask("v1/chat/completions", body, signal);
  let finish = null;
  let usage = null;
  for await (const event of events(response.body)) {
    if (event.comment !== undefined) {
      waits();
      continue;
    }
    if (event.data === "[DONE]") return { finish, usage };
    const said = JSON.parse(event.data);
    if (said.error) throw new Refused(said.error.message, response.status);
    usage = said.usage ?? usage;
    const choice = said.choices?.[0];
    if (choice?.delta?.content) told(choice.delta.content);
    finish = choice?.finish_reason ?? finish;
  }
  if (finish === null) throw new Refused("The answer broke off: the connection was lost.", 0);
  return { finish, usage };
}

/** Server-sent events (HTML standard, section 9.2) of a body: {data} or {comment}. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  let data = [];
  try {
    for (;;) {
      let chunk;
      try {
        chunk = await reader.read();
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new Refused("The answer broke off: the connection was lost.", 0);
      }
      if (chunk.done) return;
      const lines = (kept + chunk.value).split(/\r\n|\n|\r(?!$)/);
      kept = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { data: data.join("\n") };
          data = [];
        } else if (line.startsWith(":")) {
          yield { comment: line.slice(1).trim() };
        } else if (line.startsWith("data:")) {
          data.push(line.slice(5).replace(/^ /, ""));
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
