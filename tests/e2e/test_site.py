"""The documentation site builds without warnings, loads nothing from elsewhere, shows formulas, and is accessible."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from browser import CHROMIUM, DESKTOP, PHONE, THEMES, OpenPage, axe_findings, chromium, open_page
from paths import ROOT

__all__ = ["chromium", "open_page"]  # fixtures

pytest.importorskip("material", reason="needs pip install 'r1kit[docs]'")
pytestmark = pytest.mark.long

LOADED = re.compile(
    r"<(?:script|img|iframe)\b[^>]*\bsrc=\"([^\"]+)|<link\b[^>]*\bhref=\"([^\"]+)|url\(['\"]?([^)'\"]+)"
)


def build(directory: Path, site: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1", **environment}
    return subprocess.run(
        command, cwd=directory, env=variables, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    target = tmp_path_factory.mktemp("site") / "built"
    done = build(ROOT, target)
    assert done.returncode == 0, done.stderr
    return target


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    files = [path for path in site.rglob("*") if path.suffix in {".html", ".css"}]
    loaded = {name for path in files for match in LOADED.findall(path.read_text(encoding="utf-8")) for name in match}
    assert len(files) > 30 and [name for name in loaded if "//" in name and not name.startswith("data:")] == []


def test_every_page_is_in_the_navigation_and_readme_is_the_first(site: Path) -> None:
    """Pages that are left out are warnings, which fail the build."""
    pages = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert all((site / page / "index.html").exists() for page in pages)
    home = (site / "index.html").read_text(encoding="utf-8")
    assert "make demo" in home and 'href="tutorials/first-light/"' in home


def test_formulas_are_mathml(site: Path) -> None:
    page = (site / "grpo/index.html").read_text(encoding="utf-8")
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') >= 5
    assert "\\frac" not in page and "arithmatex" not in page


def test_links_to_sources_lead_to_the_repository_where_it_is_known(tmp_path: Path, site: Path) -> None:
    assert "examples/slurm/train.sbatch" not in " ".join(hrefs(site / "scaling/index.html"))
    done = build(ROOT, tmp_path / "built", REPOSITORY_URL="https://example.org/r1kit")
    assert done.returncode == 0, done.stderr
    links = hrefs(tmp_path / "built/scaling/index.html")
    assert "https://example.org/r1kit/blob/main/examples/slurm/train.sbatch" in links


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("page", ["", "grpo/", "tutorials/your-task/"])
def test_axe_finds_nothing_serious(address: str, open_page: OpenPage, page: str, width: int, theme: str) -> None:
    findings = axe_findings(open_page(f"{address}/{page}", width, theme))
    assert [finding for finding in findings if finding.startswith(("serious", "critical"))] == []


def hrefs(page: Path) -> list[str]:
    return re.findall(r'<a\b[^>]*\bhref="([^"]+)', page.read_text(encoding="utf-8"))


def test_broken_links_fail_the_build(tmp_path: Path) -> None:
    broken = ("missing.md", "grpo.md#nowhere", "../src/missing.py")
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "docs", copy / "docs")
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy)
    with (copy / "docs/sprout.md").open("a", encoding="utf-8") as page:
        page.writelines(f"\n[a link]({link})\n" for link in broken)
    done = build(copy, tmp_path / "built")
    assert done.returncode != 0
    assert [link for link in broken if link not in done.stderr] == []
