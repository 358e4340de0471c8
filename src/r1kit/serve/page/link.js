// Links that ask the same again. The fragment lists settings in order; each `q` asks with the settings before it.

import { MAX_SEED } from "./conversation.js";

const NAMES = ["model", "other", "temperature", "top_p", "max_tokens", "system", "seed"];
const LIMITS = { temperature: [0, 2], top_p: [0, 1], max_tokens: [1, 1e9, true], seed: [0, MAX_SEED, true] }; // least, most, whole
const MAX_TURNS = 50;

/** Return the fragment that asks these turns again. */
export function encode(turns) {
  const parameters = new URLSearchParams();
  let last = {};
  for (const { question, models: [model, other], settings } of turns) {
    const entries = { model, other, ...settings };
    for (const name of NAMES) {
      if (entries[name] !== last[name]) parameters.append(name, entries[name] ?? "");
    }
    parameters.append("q", question);
    last = entries;
  }
  return `#${parameters}`;
}

/** Return the turns of a fragment as {question, models, settings}; throw an Error that says what is wrong with it. */
export function decode(fragment) {
  const turns = [];
  let entries = {};
  for (const [name, value] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (name !== "q") {
      entries = { ...entries, [name]: parse(name, value) };
      continue;
    }
    const { model, other, ...settings } = entries;
    if (!model || !value.trim()) throw new Error("The link lacks a model or a question.");
    turns.push({ question: value, models: other ? [model, other] : [model], settings });
  }
  if (!turns.length) throw new Error("The link lacks a question.");
  if (turns.length > MAX_TURNS) throw new Error(`The link has ${turns.length} questions; at most ${MAX_TURNS} are allowed.`);
  return turns;
}

/** Return the value of a setting; undefined if the text is empty, which takes it back. */
function parse(name, text) {
  if (!NAMES.includes(name)) throw new Error(`The link has a setting “${name}”, which does not exist.`);
  if (text === "") return undefined;
  if (!(name in LIMITS)) return text;
  const [least, most, whole] = LIMITS[name];
  const value = Number(text);
  if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
  throw new Error(`The link has ${name} = ${text}: must be a number from ${least} to ${most}.`);
}
