"""A report taken apart by an HTML parser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "hr", "br", "link", "img"}


class Page(HTMLParser):
    """A page taken apart; fails on elements that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.ids, self.scripts, self.tags, self.links, self._open = "", [], [], [], [], []
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
        self.csp = next((v for k, v in attrs if k == "content" and "default-src" in v), getattr(self, "csp", None))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, text):
        if self._open and self._open[-1] == "script":
            self.scripts.append(text)
        else:
            self.text += text
