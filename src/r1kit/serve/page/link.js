// Links that ask the same again. The fragment lists settings in order; each `q` asks with the settings before it, and
// each `r` sends results of calls.

import { MAX_SEED } from "./conversation.js";

const NAMES = ["model", "other", "temperature", "top_p", "max_tokens", "system", "tools", "seed"];
const LIMITS = { temperature: [0, 2], top_p: [0, 1], max_tokens: [1, 1e9, true], seed: [0, MAX_SEED, true] }; // least, most, whole
const MAX_TURNS = 50;

/** Return the fragment that asks these turns again. */
export function encode(turns) {
  const parameters = new URLSearchParams();
  let last = {};
  for (const { question, results, models: [model, other], settings } of turns) {
    const entries = { model, other, ...settings };
    for (const name of NAMES) {
      if (entries[name] !== last[name]) parameters.append(name, entries[name] ?? "");
    }
    if (results) parameters.append("r", JSON.stringify(results));
    else parameters.append("q", question);
    last = entries;
  }
  return `#${parameters}`;
}

/** Return the turns of a fragment as {question, results, models, settings}; throw an Error that says what is wrong with it. */
export function decode(fragment) {
  const turns = [];
  let entries = {};
  for (const [name, value] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (name !== "q" && name !== "r") {
      entries = { ...entries, [name]: parse(name, value) };
      continue;
    }
    const { model, other, ...settings } = entries;
    if (!model || !value.trim()) throw new Error("The link lacks a model or a question.");
    const models = other ? [model, other] : [model];
    const results = name === "r" ? parseResults(value, models.length) : null;
    if (results && !turns.length) throw new Error("The link has results without a question.");
    turns.push({ question: results ? "" : value, results, models, settings });
  }
  if (!turns.length) throw new Error("The link lacks a question.");
  if (turns.length > MAX_TURNS) throw new Error(`The link has ${turns.length} questions; at most ${MAX_TURNS} are allowed.`);
  return turns;
}

/** Return the results of calls: a list of texts for each model. */
function parseResults(text, models) {
  const value = parseJson(text);
  const isList = (list) => Array.isArray(list) && list.every((each) => typeof each === "string");
  if (Array.isArray(value) && value.length === models && value.every(isList)) return value;
  throw new Error("The link has results of another form.");
}

/** Return a value; undefined if the text is no JSON. */
export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Return the value of a setting; undefined if the text is empty, which takes it back. */
function parse(name, text) {
  if (!NAMES.includes(name)) throw new Error(`The link has a setting “${name}”, which does not exist.`);
  if (text === "") return undefined;
  if (name === "tools" && !Array.isArray(parseJson(text))) throw new Error("The link has tools that are no JSON list.");
  if (!(name in LIMITS)) return text;
  const [least, most, whole] = LIMITS[name];
  const value = Number(text);
  if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
  throw new Error(`The link has ${name} = ${text}: must be a number from ${least} to ${most}.`);
}
