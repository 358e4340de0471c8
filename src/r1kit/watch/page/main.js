import { getJson } from "./api.js";
import { createCurves } from "./curves.js";
import { createRollouts } from "./rollouts.js";
import { createRuns } from "./runs.js";
import { createSections } from "./sections.js";

const PAUSE = 2000; // milliseconds between two questions, and at least REST times as long as the answers took
const REST = 10;

const connection = document.getElementById("connection");
const parts = [createSections(), createCurves(), createRollouts()];
const runs = createRuns(document.getElementById("runs"), () => update());

// Ask how far the runs are, and let every part of the page fetch what has changed for it.
async function update() {
  const progress = await getJson("api/runs");
  const view = runs.show(progress);
  document.title = `${view.run.name} - r1kit watch`;
  await Promise.all(parts.map((part) => part.show(view)));
}

let timer = null;

async function poll() {
  clearTimeout(timer);
  const start = performance.now();
  try {
    await update();
    connection.textContent = "";
  } catch (error) {
    connection.textContent = `${error.message} Trying again.`;
  }
  const took = performance.now() - start;
  if (!document.hidden) timer = setTimeout(poll, Math.max(PAUSE, REST * took));
}

document.addEventListener("visibilitychange", () => document.hidden || poll());
poll();
