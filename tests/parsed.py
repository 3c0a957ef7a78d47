"""A page, parsed: its text, tags, addresses and data."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any


class Parsed(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []
        self.options: list[str | None] = []
        self.figures: list[str] = []
        self.data: dict[str, Any] = {}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "action", "srcset")]
        self.handlers += [key for key in given if key.startswith("on")]
        self.figures += [given["data-figure"] or ""] if "data-figure" in given else []
        self.options += [given["value"]] if tag == "option" else []
        if tag in ("script", "style"):
            self._inside = given.get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.texts.append(data)
        elif self._inside not in ("script", "style"):
            self.data[self._inside] = json.loads(data)

    @property
    def spaced(self) -> str:
        """All text, each element's by itself."""
        return " ".join(" ".join(self.texts).split())

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())
