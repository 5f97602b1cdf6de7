"""Draws on SVG that needs nothing else: no script, no font, no network.

Colours follow the page where it names them, and are readable on light and dark where it does not.
"""

from dataclasses import dataclass
from xml.etree import ElementTree  # nosec B405  # only writes

Element = ElementTree.Element

#: The page is as wide; a narrow screen shrinks the chart.
WIDTH = 760
#: Okabe and Ito's colours, told apart also by those who see few; greys for what is unknown.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#9a9a9a", "#c8c8c8")
ACCENT = "var(--accent, #2f6fb0)"
GRID = "var(--line, #8884)"


@dataclass(frozen=True)
class Chart:
    """An SVG drawing; pages and notebooks show it as it is."""

    svg: str

    def __html__(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg


def canvas(height: float, told: str) -> Element:
    """Begin a drawing; `told` is what it shows, for those who cannot see it."""
    return Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height:g}",
            "width": "100%",
            "role": "img",
            "aria-label": printable(told),
            "font-size": "13",
            "font-family": "system-ui, sans-serif",
            "style": f"max-width:{WIDTH}px",
        },
    )


def text(parent: Element, x: float, words: str, *, y: float = 16, anchor: str = "") -> Element:
    """Write at a place; `anchor` is `middle` or `end` where the place is not the beginning."""
    made = ElementTree.SubElement(
        parent, "text", {"x": f"{x:.1f}", "y": f"{y:.0f}", "fill": "currentColor"}
    )
    if anchor:
        made.set("text-anchor", anchor)
    made.text = printable(words)
    return made


def box(parent: Element, x: float, y: float, width: float, height: float, colour: str) -> Element:
    """Fill a rectangle."""
    size = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
    values = {name: f"{value:.1f}" for name, value in size.items()}
    return ElementTree.SubElement(parent, "rect", {**values, "fill": colour})


def group(parent: Element, told: str = "") -> Element:
    """Things that belong together; `told` is shown to whoever points at them."""
    made = ElementTree.SubElement(parent, "g")
    if told:
        ElementTree.SubElement(made, "title").text = printable(told)
    return made


def printable(words: str) -> str:
    """Leave out control characters, which XML cannot hold."""
    return "".join(one for one in words if one.isprintable() or one == " ")


def chart(svg: Element) -> Chart:
    """End a drawing."""
    return Chart(ElementTree.tostring(svg, encoding="unicode"))
