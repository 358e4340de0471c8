"""Print docs/results/studies.md: the tables of all studies that have results.

python studies/page.py > docs/results/studies.md
"""

from __future__ import annotations

import importlib
import json

from study import RESULTS

STUDIES = ("prm", "mcts", "third_language", "slow_rewards", "selection", "preferences")
HEAD = """# Studies: results

For readers of [the studies](../studies.md), which explains every row. Accuracies are means over
seeds on held-out problems; ± is half of the 95 % interval of the paired difference."""


def section(name: str) -> str:
    """Return the section of a study; "" without results."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return ""
    module, content = importlib.import_module(name), json.loads(path.read_text(encoding="utf-8"))
    title = (module.__doc__ or name).splitlines()[0].partition(" (paper")[0].rstrip(".")
    about = "\n".join(f"{key.capitalize()}: {content[key]}  " for key in ("command", "machine", "date"))
    return f"## {title}\n\n{about}\n\n{module.page(content['results'])}"


if __name__ == "__main__":
    print("\n\n".join([HEAD, *filter(None, map(section, STUDIES))]))
