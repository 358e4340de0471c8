// A conversation: questions, the answers of one or two models to each, and how an answer is streamed.

import { ApiError, streamChat } from "./api.js";

export const MAX_SEED = 2 ** 32 - 1;
const TRIES = 5; // of a request that a full server refuses
const DEFAULT_WAIT = 2; // seconds, without a Retry-After

/**
 * Return a turn: a question, the settings that it is asked with, and an empty answer for each model name.
 * In place of a question, `results` has what the calls of the turn before returned: a list of texts for each model.
 */
export function newTurn(question, models, settings, results = null) {
  const seeded = { ...settings, seed: settings.seed ?? randomSeed() };
  return { question, results, models, settings: seeded, answers: models.map(newAnswer) };
}

/** Return the same turn with empty answers, by default with another seed. */
export function again(turn, seed = randomSeed()) {
  return newTurn(turn.question, turn.models, { ...turn.settings, seed }, turn.results);
}

export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

export function newAnswer(model) {
  return {
    model,
    state: "waiting", // then thinking, answering, and in the end done, stopped or failed
    reasoning: "",
    content: "",
    calls: [], // of tools, as the API writes them
    started: performance.now(),
    thoughtFor: null, // seconds
    seconds: null,
    usage: null,
    finish: null,
    problem: null, // an ApiError
    retryAt: null, // when a full server is asked again
  };
}

export function isRunning(answer) {
  return ["waiting", "thinking", "answering"].includes(answer.state);
}

/** Return the request for an answer. A model that reads single questions gets neither system prompt nor history. */
export function requestOf(turns, index, column, readsConversations) {
  const { models, settings: { system, tools, ...sampling } } = turns[index];
  const before = readsConversations ? [...systemMessages(system), ...history(turns.slice(0, index + 1), column)] : [];
  const asked = [...before, ...messagesOf(turns, index, column)];
  return { model: models[column], messages: asked, ...sampling, ...(tools ? { tools: JSON.parse(tools) } : {}) };
}

/** Return what turn `index` asks: a question, or the results of the calls before. */
function messagesOf(turns, index, column) {
  const { question, results } = turns[index];
  if (!results) return [{ role: "user", content: question }];
  const { calls } = answerOf(turns[index - 1], column);
  return results[column].map((content, number) => ({ role: "tool", tool_call_id: calls[number]?.id, content }));
}

function answerOf({ answers }, column) {
  return answers[column] ?? answers[0];
}

function systemMessages(content) {
  return content ? [{ role: "system", content }] : [];
}

/** Return the turns before the last one as messages, with the answers of a column. Calls without results are left out. */
function history(turns, column) {
  return turns.slice(0, -1).flatMap((turn, index) => {
    const { content, calls } = answerOf(turn, column);
    const called = turns[index + 1].results ? { tool_calls: calls } : {};
    return [...messagesOf(turns, index, column), { role: "assistant", content, ...called }];
  });
}

/** Stream an answer into `answer` and call `changed` whenever it grew. A full server is asked again later. */
export async function ask(answer, request, signal, changed) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await receive(answer, request, signal, changed);
      answer.state = "done";
    } catch (error) {
      if (signal.aborted) answer.state = "stopped";
      else if (error.status === 429 && attempt < TRIES) {
        await pause(answer, error.wait || DEFAULT_WAIT, signal, changed);
        if (!signal.aborted) continue;
        answer.state = "stopped";
      } else {
        answer.state = "failed";
        answer.problem = error instanceof ApiError ? error : new ApiError(`The page failed: ${error.message}`, -1);
      }
    }
    answer.seconds = elapsed(answer);
    changed();
    return;
  }
}

async function receive(answer, request, signal, changed) {
  answer.started = performance.now();
  for await (const chunk of streamChat(request, signal)) {
    const { delta = {}, finish_reason: finish } = chunk.choices?.[0] ?? {};
    if (delta.reasoning_content) {
      answer.state = "thinking";
      answer.reasoning += delta.reasoning_content;
    }
    if (delta.content) {
      if (answer.state !== "answering") answer.thoughtFor = elapsed(answer);
      answer.state = "answering";
      answer.content += delta.content;
    }
    for (const part of delta.tool_calls ?? []) {
      answer.state = "answering";
      extend(answer.calls, part);
    }
    answer.finish = finish ?? answer.finish;
    answer.usage = chunk.usage ?? answer.usage;
    changed();
  }
}

/** Add a part of a call: the first one has its id and name, others continue its arguments. */
function extend(calls, { index, id, type, function: { name, arguments: text = "" } }) {
  if (id) calls[index] = { id, type, function: { name, arguments: "" } };
  calls[index].function.arguments += text;
}

async function pause(answer, seconds, signal, changed) {
  answer.retryAt = performance.now() + seconds * 1000;
  const tick = setInterval(changed, 250);
  await new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", resolve, { once: true });
  });
  clearInterval(tick);
  answer.retryAt = null;
}

function elapsed(answer) {
  return (performance.now() - answer.started) / 1000;
}
