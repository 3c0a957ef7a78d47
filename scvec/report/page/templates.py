"""The templates of HTML pages, and what all pages have: style, light and dark."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from scvec._version import __version__


def rendered(template: str, **values: Any) -> str:
    """Return a page: a template that extends ``base.html.j2``, with its values; text in these is escaped."""
    from jinja2 import Environment, FunctionLoader

    pages = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(part))
    shared = {"version": __version__, "style": part("page.css"), "shared": part("shared.js")}
    return pages.get_template(template).render(shared | values)


def part(name: str) -> str:
    """Return the text of a file of this folder."""
    return files("scvec.report.page").joinpath(name).read_text(encoding="utf-8")
