"""Draw docs/floors.svg, the rooms of the package and the imports between them, from the code and its contracts.

    python docs/floors.py            # draw it
    python docs/floors.py --check    # exit code 1 if it isn't what the code says

Floors come from the layers in pyproject.toml, which `lint-imports` holds; modules and arrows from the imports.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from html import escape
from pathlib import Path

import grimp

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "floors.svg"
PACKAGE = "bertkd_fairseq"
BASE = "process"  # from this floor down, everything above may import everything: no arrows

WIDTH, LEFT, GAP, LINE, SPACE = 1000, 20, 14, 15, 34
BY_ROLE = {"cli": "commands", "topk_store": "the method", "process": "what everything stands on"}

Box = tuple[float, float, float, float]
"""x, y, width and height."""


def floors() -> list[list[str]]:
    """Return the rooms of every floor, from the top down."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    return [[room.strip() for room in layer.split("|")] for layer in contract["layers"]]


def modules(graph: grimp.ImportGraph, room: str) -> list[str]:
    """Return the names of a room's modules within it, those of its own rooms with a slash."""
    inside = sorted(graph.find_descendants(f"{PACKAGE}.{room}"))
    leaves = [name for name in inside if not graph.find_children(name)]
    return [name.split(".", 2)[2].replace(".", "/") for name in leaves]


def draw() -> str:
    """Return the picture as SVG."""
    sys.path.insert(0, str(ROOT))  # the checkout, wherever this is called from
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    boxes: dict[str, Box] = {}
    shapes: list[str] = []
    y, above_base = 16.0, True
    for layer in floors():
        above_base = above_base and BASE not in layer
        role = next((BY_ROLE[room] for room in layer if room in BY_ROLE), "")
        if role:
            shapes.append(f'<text class="role" x="{LEFT}" y="{y + 6}">{escape(role)}</text>')
            y += 14
        width = (WIDTH - 2 * LEFT - GAP * (len(layer) - 1)) / len(layer)
        lines = {
            room: textwrap.wrap(
                ", ".join(modules(graph, room)), int(width / 6.2), break_long_words=False
            )
            for room in layer
        }
        height = 26 + LINE * max(map(len, lines.values())) + 4 * any(lines.values())
        for k, room in enumerate(layer):
            x = LEFT + k * (width + GAP)
            boxes[room] = (x, y, width, height)
            shapes.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" rx="4"/>'
            )
            shapes.append(f'<text class="room" x="{x + 8:.1f}" y="{y + 17}">{room}</text>')
            for i, line in enumerate(lines[room]):
                at = f'x="{x + 8:.1f}" y="{y + 34 + LINE * i}"'
                shapes.append(f"<text {at}>{escape(line)}</text>")
        y += height + (SPACE if above_base else 12)
    return _svg(_arrows(graph, boxes) + shapes, y)


def _arrows(graph: grimp.ImportGraph, boxes: dict[str, Box]) -> list[str]:
    """Return an arrow for each room that imports another one, behind the boxes."""
    names = list(boxes)
    above = names[: names.index(BASE)]
    shapes = []
    for upper in above:
        for lower in above[above.index(upper) + 1 :]:
            if not graph.direct_import_exists(
                importer=f"{PACKAGE}.{upper}", imported=f"{PACKAGE}.{lower}", as_packages=True
            ):
                continue
            (x, y, width, height), (to_x, to_y, to_width, _) = boxes[upper], boxes[lower]
            order = (above.index(lower) + 1) / (len(above) + 1)
            start, end = (
                x + width * order,
                to_x + to_width * (above.index(upper) + 1) / (len(above) + 1),
            )
            middle = (y + height + to_y) / 2
            path = f"M{start:.1f} {y + height} C{start:.1f} {middle} {end:.1f} {middle} {end:.1f} {to_y}"
            shapes.append(f'<path d="{path}" marker-end="url(#head)"/>')
    return shapes


def _svg(shapes: list[str], height: float) -> str:
    style = (
        "text{font:11px sans-serif;fill:#222}.room{font-weight:bold;font-size:12px}"
        ".role{font-style:italic;fill:#666}rect{fill:#eef3f8;stroke:#4a6a8a}"
        "path{fill:none;stroke:#8aa;stroke-width:1}.head{fill:#8aa;stroke:none}"
    )
    head = (
        '<defs><marker id="head" markerWidth="7" markerHeight="7" refX="6" refY="3" orient="auto">'
        '<path class="head" d="M0 0 L7 3 L0 6z"/></marker></defs>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">',
            "<title>The rooms of the package on their floors, and which imports which</title>",
            f'<style>{style}</style><rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
            head,
            *shapes,
            "</svg>",
            "",
        ]
    )


def main() -> int:
    """Draw the picture, or compare it with the code."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--check", action="store_true", help="draw nothing; exit code 1 if it is behind"
    )
    picture = draw()
    if not parser.parse_args().check:
        PICTURE.write_text(picture, encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text("utf-8") != picture:
        print(
            f"{PICTURE} must show the code's rooms and imports, but is behind. Run: python docs/floors.py"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
