"""Hooks of MkDocs: pages that lie outside docs/, one of them a notebook, and links as they stand in the repository.

Links are written for whoever reads the files where they lie. In the site, one to a page outside docs/ leads to its
copy, one to any other file to that file as plain text, and one to a folder is its text alone.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "examples/tour.ipynb"
OUTSIDE = {
    NOTEBOOK: "tour.md",
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    **{
        path.relative_to(ROOT).as_posix(): f"recipes/{path.parent.name}.md"
        for path in sorted(ROOT.glob("examples/*/README.md"))
    },
}
"""Pages outside docs/, as the site calls them."""

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
"""A link or a picture: mark of a picture, text, file, heading."""
_SHOWN = (".md", ".png", ".svg")
_REMOTE_WORKER = "https://unpkg.com/iframe-worker/shim"
_OWN_WORKER = "offline_worker.js"
_COMMENT = re.compile(r"^<!--.*-->$", re.MULTILINE)


def place(path: str) -> str | None:
    """Return where the site has a file of the repository; None if it is a folder, or nothing."""
    if path in OUTSIDE:
        return OUTSIDE[path]
    if not (ROOT / path).is_file():
        return None
    inside = path.removeprefix("docs/")
    return inside if inside != path and path.endswith(_SHOWN) else f"source/{path}.txt"


def text_of(path: str) -> str:
    """Return the Markdown of a page of the repository; of a notebook its cells, each with what it has shown."""
    text = (ROOT / path).read_text("utf-8")
    return "\n\n".join(_cells(json.loads(text))) if path == NOTEBOOK else text


def _cells(notebook: Any) -> Iterator[str]:
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        yield text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for output in cell.get("outputs", ()):
            if output["output_type"] == "stream":
                yield "```text\n" + "".join(output["text"]).rstrip() + "\n```"
            elif "image/png" in output["data"]:
                yield f'<img src="{_picture(cell)}" alt="What the code above draws">'


def _picture(cell: Any) -> str:
    """Return the name that the site gives to the picture of a cell."""
    return f"tour_{cell['id']}.png"


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each picture of the notebook."""
    for cell in json.loads((ROOT / NOTEBOOK).read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                yield _picture(cell), base64.b64decode(output["data"]["image/png"])


def linked(text: str, source: str) -> set[str]:
    """Return the files of the repository that a page links to; ``source``: the page's own path in the repository."""
    targets = (target for _, _, target, _ in LINK.findall(text) if target and ":" not in target)
    return {posixpath.normpath(posixpath.join(posixpath.dirname(source), to)) for to in targets}


def as_in_site(text: str, source: str) -> str:
    """Return the Markdown of a page with every link as it has to be in the site."""
    own_folder = posixpath.dirname(place(source) or "")

    def link(found: re.Match[str]) -> str:
        picture, words, target, heading = found[1], found[2], found[3], found[4] or ""
        if not target or ":" in target:
            return found[0]
        to = place(posixpath.normpath(posixpath.join(posixpath.dirname(source), target)))
        if to is None:
            return words
        return f"{picture}[{words}]({posixpath.relpath(to, own_folder or '.')}{heading})"

    # A comment on a line of its own would glue a table to it.
    return LINK.sub(link, _COMMENT.sub("", text))


def source_of(uri: str) -> str:
    """Return the path in the repository of a page of the site."""
    names = {name: path for path, name in OUTSIDE.items()}
    return names.get(uri, f"docs/{uri}")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages outside docs/, and every file that a page links to."""
    from mkdocs.structure.files import File

    for path, uri in OUTSIDE.items():
        files.append(File.generated(config, uri, content=text_of(path)))
    for name, content in pictures():
        files.append(File.generated(config, name, content=content))
    for page in list(files.documentation_pages()):
        source = source_of(page.src_uri)
        for path in sorted(linked(text_of(source), source)):
            uri = place(path)
            if uri and uri.startswith("source/") and files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page with its links as the site has them."""
    return as_in_site(markdown, source_of(page.file.src_uri))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Load the script for workers from the site itself."""
    up = posixpath.relpath(_OWN_WORKER, posixpath.dirname(page.url) or ".")
    return output.replace(_REMOTE_WORKER, up)


def on_post_template(output: str, **_: Any) -> str:
    """Do the same in pages of the theme's own."""
    return output.replace(_REMOTE_WORKER, f"/{_OWN_WORKER}")
