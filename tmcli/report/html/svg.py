"""A matplotlib figure as SVG that the page may hold: colours of the page, texts as text, no inline styles.

    with drawing("accuracy"):
        figure = Figure(...)
        axes.plot(x, y, color=series(0))
    inline(figure, "Accuracy by group")

Colours are placeholders while matplotlib draws; here they become CSS variables, so that one picture serves
light and dark. Its `style` attributes become plain ones, since the page's policy (CSP) forbids inline styles.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from tmcli.console import safe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT, MUTED, LINE, SURFACE = "#0a0b00", "#0a0b01", "#0a0b02", "#0a0b03"
NAMED = {"trial": "#0a0c00", "execution": "#0a0c01", "wasted": "#0a0c02"}
N_SERIES = 8

_PLAIN = {TEXT: "ink", MUTED: "muted", LINE: "line", SURFACE: "surface"}
_VARIABLES = (
    {code: f"var(--{name})" for code, name in _PLAIN.items()}
    | {code: f"var(--{name})" for name, code in NAMED.items()}
    | {f"#0a0d{i:02x}": f"var(--series-{i})" for i in range(N_SERIES)}
)
_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_FONT_SIZE = re.compile(r"([\d.]+)px")


def series(i: int) -> str:
    """The colour of the i-th series; they repeat."""
    return f"#0a0d{i % N_SERIES:02x}"


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """matplotlib as the page needs it. `name` keeps the ids of two pictures apart."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its fonts
    import matplotlib

    style: Any = {
        "svg.fonttype": "none",  # text stays text: to be read aloud, searched, and in the page's font
        "svg.hashsalt": name,  # the same bytes again
        "text.parse_math": False,  # a dollar in a tag is a dollar
        "font.family": "DejaVu Sans",  # comes with matplotlib: the same room for texts everywhere
        "font.size": 10,
        "text.color": TEXT,
        "axes.labelcolor": MUTED,
        "axes.labelsize": 9,
        "axes.edgecolor": LINE,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": LINE,
        "grid.linewidth": 0.7,
        "xtick.color": LINE,
        "ytick.color": LINE,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 1.8,
        "figure.facecolor": "none",
    }
    with matplotlib.rc_context(style):
        yield


def inline(figure: Figure, title: str) -> str:
    """The picture as an element of the page; `title` is what a screen reader says."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(out.getvalue())  # noqa: S314 - matplotlib wrote it a moment ago
    used = set(re.findall(r"url\(#(\w+)\)|href=\"#(\w+)\"", out.getvalue().decode()))
    kept = {name for pair in used for name in pair if name}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        _plain(element, kept)
    width = root.attrib.pop("width").removesuffix("pt")
    root.attrib.pop("height")
    root.attrib |= {"role": "img", "aria-label": title, "data-width": f"{float(width):.0f}"}
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _plain(element: ElementTree.Element, kept: set[str]) -> None:
    """One element as HTML takes it: no namespaces, no style, no needless id."""
    element.tag = element.tag.removeprefix(_SVG)
    attributes = element.attrib
    if attributes.get("id") not in kept:
        attributes.pop("id", None)
    if _HREF in attributes:
        attributes["href"] = attributes.pop(_HREF)
    for rule in attributes.pop("style", "").split(";"):
        name, _, value = (part.strip() for part in rule.partition(":"))
        if name == "font":
            size = _FONT_SIZE.search(value)
            attributes["font-size"] = size[1] if size else "10"
        elif name and value:
            attributes[name] = _VARIABLES.get(value, value)
    for name, value in attributes.items():
        attributes[name] = _VARIABLES.get(value, value)


def label(text: object, most: int = 30) -> str:
    """A tag or name as a picture holds it: one short line.

    >>> label("a\\x00b\\n" + "c" * 40)
    'a\\\\x00b cccccccccccccccccccccc…'
    """
    line = " ".join(safe(str(text)).split())
    line = f"\u2009{line}" if line.startswith("_") else line  # matplotlib leaves such names out of legends
    return line if len(line) <= most else f"{line[: most - 1]}…"
