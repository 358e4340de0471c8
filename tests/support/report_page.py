"""An HTML parser for reports."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "hr", "br", "link", "img"}


class Page(HTMLParser):
    """The text, ids, tags, links, scripts and data of a page. Fails on elements that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = ""
        self.ids: list[str | None] = []
        self.scripts: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.csp: str | None = None
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [v for k, v in attrs if k == "id"]
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "action")]
        self.csp = next((v for k, v in attrs if k == "content" and "default-src" in v), self.csp)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        if self._open and self._open[-1] == "script":
            self.scripts.append(text)
        else:
            self.text += text
