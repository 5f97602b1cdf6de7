"""SVG drawings without dependencies: no script, no font, no network.

Colours follow the page's CSS variables, with defaults that are readable on light and dark pages.
"""

from dataclasses import dataclass
from xml.etree import ElementTree  # nosec B405  # only writes

Element = ElementTree.Element

#: Width of the page; a chart shrinks on a narrow screen.
WIDTH = 760
#: Okabe and Ito's palette, safe for colour blindness; the greys are for unknown values.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#9a9a9a", "#c8c8c8")
ACCENT = "var(--accent, #2f6fb0)"
GRID = "var(--line, #8884)"


@dataclass(frozen=True)
class Chart:
    """An SVG drawing; pages and notebooks embed it unchanged."""

    svg: str

    def __html__(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return self.svg


def canvas(height: float, label: str) -> Element:
    """Start a drawing; `label` describes it for screen readers."""
    return Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height:g}",
            "width": "100%",
            "role": "img",
            "aria-label": printable(label),
            "font-size": "13",
            "font-family": "system-ui, sans-serif",
            "style": f"max-width:{WIDTH}px",
        },
    )


def text(parent: Element, x: float, words: str, *, y: float = 16, anchor: str = "") -> Element:
    """Add text at a position; `anchor` is `middle` or `end` if the position is not its start."""
    element = ElementTree.SubElement(
        parent, "text", {"x": f"{x:.1f}", "y": f"{y:.0f}", "fill": "currentColor"}
    )
    if anchor:
        element.set("text-anchor", anchor)
    element.text = printable(words)
    return element


def box(parent: Element, x: float, y: float, width: float, height: float, colour: str) -> Element:
    """Add a filled rectangle."""
    size = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0)}
    values = {name: f"{value:.1f}" for name, value in size.items()}
    return ElementTree.SubElement(parent, "rect", {**values, "fill": colour})


def group(parent: Element, tooltip: str = "") -> Element:
    """Add a group of elements; `tooltip` appears when the pointer is over them."""
    element = ElementTree.SubElement(parent, "g")
    if tooltip:
        ElementTree.SubElement(element, "title").text = printable(tooltip)
    return element


def printable(words: str) -> str:
    """Remove control characters, which XML does not allow."""
    return "".join(character for character in words if character.isprintable() or character == " ")


def chart(svg: Element) -> Chart:
    """Return the finished drawing."""
    return Chart(ElementTree.tostring(svg, encoding="unicode"))
