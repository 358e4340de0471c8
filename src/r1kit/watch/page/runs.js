import { make, short } from "../report/parts.js";

// The list of runs: how far each is, which one the page shows, and which are drawn in the plots, with which stage.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

// A duration in its two largest units: 42 s, 12 min 30 s, 3 h 5 min.
export function duration(seconds) {
  const first = UNITS.findIndex(([, size]) => seconds >= size);
  if (first < 0) return "0 s";
  return UNITS.slice(first, first + 2)
    .map(([unit, size], i) => [Math.floor((i ? seconds % UNITS[first][1] : seconds) / size), unit])
    .filter(([count], i) => i === 0 || count > 0)
    .map((pair) => pair.join(" "))
    .join(" ");
}

const lastOf = (items, test) => items.filter(test).at(-1);

// The stage whose curves, or completions, are shown until somebody chooses another: the latest that has some.
export const latestStage = (run, has) => lastOf(run.stages, (stage) => stage.name === run.stage && has(stage))
  ?? lastOf(run.stages, has);

// Names that differ: of runs of one recipe, as much of their directories as it takes.
function labelsOf(runs) {
  const ends = (run, parts) => run.dir.split("/").slice(-parts).join(" ");
  const candidates = [runs.map((run) => run.name), ...[1, 2, 9].map((parts) => runs.map((run) => ends(run, parts)))];
  return candidates.find((labels) => new Set(labels).size === runs.length) ?? runs.map((run, i) => `run ${i + 1}`);
}

export function createRuns(root, onChange) {
  const state = { chosen: 0, drawn: null };
  const rows = []; // elements of each run, made once, so that focus stays where it is

  function build(runs, labels) {
    const isOne = runs.length === 1;
    root.replaceChildren();
    runs.forEach((run, i) => {
      const name = make("span", { class: "run-name" }, labels[i]);
      const choose = make("input", { type: "radio", name: "run", value: String(i), change: () => set({ chosen: i }) });
      choose.checked = i === state.chosen;
      const draw = make("input", { type: "checkbox", change: () => set({ drawn: toggled(i) }) });
      draw.checked = state.drawn.has(i);
      const row = {
        state: make("span", { class: "state" }),
        step: make("span", {}),
        bar: make("progress", { "aria-label": `steps of ${labels[i]}` }),
        left: make("span", {}),
        changed: make("span", { class: "changed" }),
      };
      rows.push(row);
      root.append(make("div", { class: "run" },
        isOne ? name : make("label", { class: "choose" }, choose, name),
        row.state, row.step, row.bar, row.left, row.changed,
        isOne ? null : make("label", { class: "draw" }, draw, "in the plots")));
    });
  }

  function toggled(i) {
    const drawn = new Set(state.drawn);
    if (!drawn.delete(i)) drawn.add(i);
    return drawn;
  }

  function set(change) {
    Object.assign(state, change);
    onChange();
  }

  function fill(row, run) {
    const stage = run.stages.find((each) => each.name === run.stage);
    const done = run.stages.filter((each) => each.state === "done").length;
    row.state.textContent = run.state;
    row.state.className = `state ${run.state}`;
    const where = `stage ${Math.min(done + 1, run.stages.length)} of ${run.stages.length}, ${run.stage}`;
    const of = stage?.steps ? ` of ${short(stage.steps)}` : "";
    const isDone = run.state === "done";
    row.step.textContent = !stage ? "no stages"
      : isDone ? `all ${run.stages.length} stages` : where + (stage.step === null ? "" : `, step ${short(stage.step)}${of}`);
    row.bar.hidden = !stage?.steps || isDone;
    row.bar.max = stage?.steps ?? 1;
    row.bar.value = stage?.step ?? 0;
    row.left.textContent = run.seconds_left === null ? "" : `about ${duration(run.seconds_left)} left of the stage`;
    const ago = Date.now() / 1000 - run.changed;
    row.changed.textContent = ago < 5 ? "changed just now" : `changed ${duration(ago)} ago`;
  }

  return {
    // Show the progress of the runs, and return what the page shows: the chosen run and those in the plots.
    show(runs) {
      const labels = labelsOf(runs);
      if (!rows.length) {
        state.drawn = new Set(runs.keys());
        build(runs, labels);
      }
      runs.forEach((run, i) => fill(rows[i], run));
      const drawn = [...state.drawn].sort((a, b) => a - b);
      return {
        number: state.chosen,
        run: runs[state.chosen],
        drawn: drawn.map((number) => ({ number, run: runs[number], label: labels[number] })),
        refresh: onChange,
      };
    },
  };
}
