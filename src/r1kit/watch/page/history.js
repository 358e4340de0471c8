import { make, short } from "../report/parts.js";
import { getJson, ofStage } from "./api.js";
import { drawPlot, legendKey } from "./plot.js";

// One problem over the steps: how many of its completions were right each time it was drawn.

const AXES = [0.13, 0.985];

const HEADINGS = ["step", "right", "mean reward", "mean tokens", "cut off", "mixed"];

export function createHistory(root, open) {
  let search = 0; // number of the search that is shown

  function close() {
    search += 1;
    root.replaceChildren();
  }

  function table(groups, problem) {
    const rows = groups.map((group) => {
      const show = { type: "button", "aria-label": `show step ${group.step}`, click: () => open(group.step, problem) };
      const right = group.right === null ? "not graded" : `${group.right} of ${group.completions}`;
      const tokens = group.tokens === null ? null : Math.round(group.tokens);
      const cells = [right, short(group.reward), short(tokens), group.cut || "", group.mixed || ""];
      return make("tr", {}, make("th", { scope: "row" }, make("button", show, short(group.step))),
        ...cells.map((cell) => make("td", {}, String(cell))));
    });
    const head = HEADINGS.map((text) => make("th", { scope: "col" }, text));
    return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Steps with this problem" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)));
  }

  function plot(groups) {
    const ordered = [...groups].reverse().filter((group) => group.right !== null);
    if (ordered.length < 2) return "";
    const curve = { name: "share of right completions", x: ordered.map((group) => group.step),
      y: ordered.map((group) => group.right / group.completions) };
    const range = [curve.x[0], curve.x.at(-1)];
    const drawn = drawPlot({ style: "share", curves: [curve], isSmooth: false, isDashed: false, range, axes: AXES });
    return make("figure", {}, make("figcaption", {}, "Share of right completions"),
      make("div", { class: "plot" }, drawn), make("p", {}, legendKey(0, curve.name, false)));
  }

  // Search the logged steps from the newest, and show what has been found so far.
  async function follow(number, stage, group) {
    const mine = ++search;
    const groups = [];
    const heading = make("h3", { tabindex: "-1" }, "One problem over the steps");
    const status = make("p", { role: "status" }, "Searching …");
    const found = make("div", {});
    const end = make("button", { type: "button", click: close }, "Close");
    root.replaceChildren(make("div", { class: "card history" }, heading,
      make("p", { class: "clamp" }, group.question ?? group.prompt_id), status, found, end));
    heading.focus();
    let before = null;
    try {
      do {
        const part = await getJson(ofStage(number, stage, "problem"), { problem: group.prompt_id, before });
        if (mine !== search) return;
        groups.push(...part.groups);
        before = part.before;
        status.textContent = before === null
          ? `In ${groups.length} of the logged steps.`
          : `Searched down to step ${short(before)} …`;
        found.replaceChildren(make("div", { class: "plot-and-table" }, plot(groups), table(groups, group.prompt_id)));
      } while (before !== null);
    } catch (error) {
      status.textContent = error.message;
    }
  }

  return { follow, close };
}
