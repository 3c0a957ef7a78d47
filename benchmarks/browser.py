"""A report in headless Chromium: when it is ready, how it pans and zooms, how long a filter and a recolouring take.

Needs playwright, and the system's Chromium.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDE, HIGH = 1280, 900
FLAGS = ("--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")
SECONDS, STEP = 4.0, 1 / 60
"""How long the map is moved, and how often the mouse reports its position."""

FRAMES = """() => {
  window.frames_at = [];
  const next = (at) => { window.frames_at?.push(at); if (window.frames_at) requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""
TAKEN = "() => { const taken = window.frames_at; window.frames_at = undefined; return taken; }"
CHANGED = """([id, value, event]) => new Promise((done) => {
  const one = document.getElementById(id), start = performance.now();
  one.value = value;
  one.dispatchEvent(new Event(event));
  requestAnimationFrame(() => requestAnimationFrame(() => done((performance.now() - start) / 1000)));
})"""
"""Measured until the frame after the one that shows the change."""


def measured(path: Path, cell: str) -> dict[str, Any]:
    """Open a report, use its map, and return how long that took.

    Parameters
    ----------
    path
        The page.
    cell
        Part of a cell's name, to search for.

    Returns
    -------
    dict
        ``ready_s``; frames per second and the longest frame, while the map is panned and zoomed; seconds of a filter by
        doubt, of a search for a cell and of a recolouring, each for the first time; the browser's version, and how it
        draws.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = play.chromium.launch(executable_path=chromium, chromium_sandbox=False, args=list(FLAGS))
        page = browser.new_page(viewport={"width": WIDE, "height": HIGH})
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        start = time.perf_counter()
        page.goto(path.resolve().as_uri(), timeout=300_000)
        page.wait_for_selector("html[data-ready=yes]", timeout=300_000)
        found: dict[str, Any] = {"ready_s": time.perf_counter() - start}
        page.locator("#cells").scroll_into_view_if_needed()
        page.evaluate("() => document.getElementById('cells').scrollIntoView({ block: 'center' })")
        page.wait_for_timeout(2000)
        found |= {"pan": _panned(page), "zoom": _zoomed(page)}
        for name, what in {
            "filter_s": ["only", "*", "change"],
            "unfilter_s": ["only", "", "change"],
            "find_s": ["find", cell, "input"],
            "recolour_s": ["colour", "0", "change"],
        }.items():
            found[name] = page.evaluate(CHANGED, what)
            page.wait_for_timeout(500)
        found |= {"browser": f"Chromium {browser.version}", "drawn_by": page.evaluate(RENDERER)}
        browser.close()
    if faults:
        raise RuntimeError(f"{path}: {faults[0]}")
    return found


RENDERER = """() => {
  const gl = document.createElement("canvas").getContext("webgl");
  const about = gl?.getExtension("WEBGL_debug_renderer_info");
  return about ? gl.getParameter(about.UNMASKED_RENDERER_WEBGL) : "no WebGL";
}"""


def _middle(page: Page) -> tuple[float, float]:
    box = page.locator("#cells").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 3


def _panned(page: Page) -> dict[str, float]:
    """Drag the map in circles."""
    x, y = _middle(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(FRAMES)
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS:
        page.mouse.move(x + 120 * np.sin(3 * passed), y + 80 * np.sin(2 * passed))
        time.sleep(STEP)
    made = _rate(page.evaluate(TAKEN))
    page.mouse.up()
    page.wait_for_timeout(1000)
    return made


def _zoomed(page: Page) -> dict[str, float]:
    """Turn the wheel in and out over the map."""
    page.mouse.move(*_middle(page))
    page.evaluate(FRAMES)
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < SECONDS:
        page.mouse.wheel(0, 60 if int(passed) % 2 else -60)
        time.sleep(STEP)
    made = _rate(page.evaluate(TAKEN))
    page.wait_for_timeout(1000)
    return made


def _rate(frames: list[float]) -> dict[str, float]:
    """Return frames per second and the longest frame, from the frames' times in milliseconds."""
    gaps = np.diff(frames) / 1000
    return {"frames_per_s": float(len(gaps) / gaps.sum()), "longest_s": float(gaps.max())}
