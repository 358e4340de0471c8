"""Write the README's picture of the chat page: the base model and R1-Zero answer the same question.

python scripts/screenshot.py runs/sprout-zero     (needs the extras `serve` and `test`, and Chromium)
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parents[1] / "docs" / "assets" / "chat.png"
ASKED = {"model": "base", "other": "zero", "temperature": 0.6, "seed": 1, "q": "Make 10 from 14, 4, 8."}


def main() -> None:
    """Serve both models, ask them, and write the picture."""
    models = ["base=sprout-base", f"zero={sys.argv[1]}/zero"]
    command = [sys.executable, "-m", "r1kit", "serve", *models, "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server,
        sync_playwright() as playwright,
    ):
        assert server.stdout is not None
        address = next(match[0] for line in server.stdout if (match := re.search(r"http://[\d.:]+/", line)))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 520})
        page.goto(f"{address}#{urlencode(ASKED)}")
        page.get_by_text("Copy link").wait_for()
        page.locator("summary:visible").click()
        page.screenshot(path=PICTURE)
        server.terminate()


if __name__ == "__main__":
    main()
