"""The files of the chat page: complete, without inline code, and in the report's colours."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

PAGE = files("r1kit.serve").joinpath("page")
INDEX = PAGE.joinpath("index.html").read_text(encoding="utf-8")
COLOUR = re.compile(r"--(\w+): (#[0-9a-f]+)")


class Elements(HTMLParser):
    """Collects elements with their attributes, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def elements() -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(INDEX)
    return parser.elements


def test_everything_is_in_files_of_the_page(elements) -> None:
    assert all("src" in attributes for tag, attributes in elements if tag == "script")
    assert not [tag for tag, _ in elements if tag == "style"]
    inline = {name for _, attributes in elements for name in attributes if name == "style" or name.startswith("on")}
    assert inline == set()
    named = [value for tag, attributes in elements for name, value in attributes.items() if name in ("src", "href")]
    local = [name for name in named if name and not name.startswith("#")]
    assert len(local) > 8 and all(PAGE.joinpath(name).is_file() for name in local)


def test_modules_that_are_imported_exist() -> None:
    scripts = [path for path in PAGE.iterdir() if path.name.endswith(".js")]
    imported = [name for path in scripts for name in re.findall(r'from "\./(.+)"', path.read_text(encoding="utf-8"))]
    assert len(imported) > 8 and all(PAGE.joinpath(name).is_file() for name in imported)


def test_vendored_libraries_have_their_licenses() -> None:
    libraries = [*PAGE.joinpath("vendor").iterdir()]
    assert sorted(path.name for path in libraries) == ["dompurify", "katex", "markdown-it"]
    assert all(path.joinpath("LICENSE").read_text(encoding="utf-8").strip() for path in libraries)


def test_formulas_find_their_fonts() -> None:
    katex = PAGE.joinpath("vendor", "katex")
    fonts = set(re.findall(r"url\((fonts/[^)]*\.woff2)\)", katex.joinpath("katex.min.css").read_text(encoding="utf-8")))
    assert len(fonts) == 20 and all(katex.joinpath(font).is_file() for font in fonts)


def test_colours_are_those_of_the_report() -> None:
    report = files("r1kit.report").joinpath("static", "page.css").read_text(encoding="utf-8")
    light, _, dark = report.partition("prefers-color-scheme: dark")
    of_report = {
        name: (value, dict(COLOUR.findall(dark))[name]) for name, value in COLOUR.findall(light) if name in dark
    }
    page = PAGE.joinpath("colours.css").read_text(encoding="utf-8")
    of_page = {name: pair for name, *pair in re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", page)}
    shared = of_page.keys() & of_report.keys()
    assert {"paper", "card", "ink", "muted", "line", "soft", "accent", "wrong", "think"} <= shared
    assert {name: tuple(of_page[name]) for name in shared} == {name: of_report[name] for name in shared}
