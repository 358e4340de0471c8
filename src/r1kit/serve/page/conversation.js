// A conversation: questions, the answers of one or two models to each, and how an answer is streamed.

import { ApiError, streamChat } from "./api.js";

export const MAX_SEED = 2 ** 32 - 1;
const TRIES = 5; // of a request that a full server refuses
const DEFAULT_WAIT = 2; // seconds, without a Retry-After

/** Return a turn: a question, the settings that it is asked with, and an empty answer for each model name. */
export function newTurn(question, models, settings) {
  return { question, models, settings: { ...settings, seed: settings.seed ?? randomSeed() }, answers: models.map(newAnswer) };
}

/** Return the same turn with empty answers, by default with another seed. */
export function again(turn, seed = randomSeed()) {
  return newTurn(turn.question, turn.models, { ...turn.settings, seed });
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
  const { question, models, settings: { system, ...sampling } } = turns[index];
  const before = readsConversations ? [...systemMessages(system), ...history(turns.slice(0, index), column)] : [];
  return { model: models[column], messages: [...before, { role: "user", content: question }], ...sampling };
}

function systemMessages(content) {
  return content ? [{ role: "system", content }] : [];
}

/** Return earlier turns as messages, with the answers of a column. */
function history(turns, column) {
  return turns.flatMap(({ question, answers }) => [
    { role: "user", content: question },
    { role: "assistant", content: (answers[column] ?? answers[0]).content },
  ]);
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
    answer.finish = finish ?? answer.finish;
    answer.usage = chunk.usage ?? answer.usage;
    changed();
  }
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
