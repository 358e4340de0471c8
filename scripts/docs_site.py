"""Hooks of mkdocs for the documentation site: pages from outside docs/, links, formulas.

Pages are written for readers of the repository. On the site, README.md is the home page, links that show the name of a
page show its title, links to files that are not on the site lead to the repository (if `repo_url` is known), and
formulas become MathML, which browsers draw by themselves.
"""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
SEARCH = 'data-md-component="search" role="dialog"'
FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*\\[(\[](.+?)\\[)\]]\s*</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/."""
    for source, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links between files of the repository to pages of the site, or to the repository."""
    source = Path(page.file.abs_src_path or "")

    def rewritten(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = (source.parent / target).resolve()
        if ":" in target or not path.is_relative_to(ROOT) or not path.exists():
            return link[0]  # leads elsewhere, or nowhere, which mkdocs reports
        if uri := _uri(path):
            name = _title(path) if text.endswith(path.name) else text
            return f"[{name}]({os.path.relpath(uri, os.path.dirname(page.file.src_uri))}{anchor})"
        address = path.relative_to(ROOT).as_posix()
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{address}{anchor})" if config.repo_url else text

    return LINK.sub(rewritten, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas in LaTeX into MathML."""

    def mathml(formula: re.Match[str]) -> str:
        return convert(unescape(formula[2]).strip(), display="block" if formula[1] == "div" else "inline")

    return FORMULA.sub(mathml, html)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Name the theme's search dialog, for screen readers."""
    return output.replace(SEARCH, f'{SEARCH} aria-label="Search"')


def _title(path: Path) -> str:
    """Return the first heading of a page."""
    return path.read_text(encoding="utf-8").partition("# ")[2].partition("\n")[0]


def _uri(path: Path) -> str | None:
    """Return where a file of the repository is on the site; None if it is not there."""
    if path.is_relative_to(DOCS) and path.is_file():
        return path.relative_to(DOCS).as_posix()
    return PAGES.get(path.relative_to(ROOT).as_posix())
