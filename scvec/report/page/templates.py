"""The templates of HTML pages, and what all pages have: style, light and dark."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from scvec._version import __version__

HERE = "scvec.report.page"


def rendered(template: str, *, package: str = HERE, **values: Any) -> str:
    """Return a page: a template that extends ``base.html.j2``, with its values; text in these is escaped.

    A template is in the folder of `package`, or else in this one.
    """
    from jinja2 import Environment, FunctionLoader

    def source(name: str) -> str:
        return part(name, package if files(package).joinpath(name).is_file() else HERE)

    pages = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(source))
    shared = {"version": __version__, "style": part("page.css"), "shared": part("shared.js")}
    return pages.get_template(template).render(shared | values)


def part(name: str, package: str = HERE) -> str:
    """Return the text of a file of a package's folder."""
    return files(package).joinpath(name).read_text(encoding="utf-8")
