#!/usr/bin/env python3
"""Follows every link of the manual that stays inside it, and the links between the sources of it and of other Markdown
files, as they are shown where the repository is: links.py DIRECTORY FILE.md…

Says which page names a file, or a place in a page, that is not there; and which page is reached from nowhere.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Made by mdBook and linked by no page: the page for printing, the one for a wrong address, and the list of chapters for
# browsers without JavaScript. Their links are those of the others.
BY_ITSELF = {"print.html", "404.html", "toc.html"}


class Page(HTMLParser):
    """The links and the places of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.places = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id" or (name == "name" and tag == "a"):
                self.places.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def main(directory):
    root = Path(directory).resolve()
    pages = {file.resolve(): Page(file.read_text()) for file in root.rglob("*.html")}
    if not pages:
        return [f"no pages in {root}"]
    wrong, reached = [], {root / "index.html"}
    for file, page in pages.items():
        name = str(file.relative_to(root))
        if name in BY_ITSELF:
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if target.is_dir():
                target = target / "index.html"
            if root not in target.parents or not target.is_file():
                wrong.append(f"{name}: {link}: there is no such file in the manual")
                continue
            if target != file:
                reached.add(target)
            place = unquote(parts.fragment)
            if place and target in pages and place not in pages[target].places:
                wrong.append(f"{name}: {link}: there is no such place in that page")
    # The list of chapters is a page of its own, which the others show.
    chapters = pages.get(root / "toc.html", Page("")).links
    reached.update((root / unquote(urlsplit(link).path)).resolve() for link in chapters)
    left = (file for file in pages if file not in reached and file.name not in BY_ITSELF)
    return wrong + [f"{file.relative_to(root)}: no page leads to it" for file in left]


# Files of the repository that a text names; a word in capitals stands for another.
NAMED = re.compile(r"`((?:src|tests|integration|crates|examples|fuzz|docs)/[a-z0-9_./-]+)`")


def sources(files):
    """The links of Markdown files to files that are not there, and the names of such files in them."""
    wrong = []
    for file in map(Path, files):
        text = re.sub(r"^```.*?^```", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
        wrong += [f"{file}: `{name}`: there is no such file" for name in NAMED.findall(text) if not Path(name).exists()]
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
            parts = urlsplit(link)
            if not parts.scheme and parts.path and not (file.parent / unquote(parts.path)).exists():
                wrong.append(f"{file}: {link}: there is no such file")
    return wrong


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: links.py DIRECTORY FILE.md...")
    faults = main(sys.argv[1]) + sources(sys.argv[2:])
    print("\n".join(faults) or "every link of the manual leads somewhere")
    sys.exit(1 if faults else 0)
