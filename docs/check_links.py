"""Check that the relative links of Markdown files outside the site exist: python docs/check_links.py FILE ..."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub-like hosts and MyST give to headings."""
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in titles}


def broken(page: Path) -> list[str]:
    """Every relative link of a page that leads nowhere."""
    text = page.read_text(encoding="utf-8")
    found = []
    for link in LINK.findall(CODE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            found.append(f"{page}: no file {link}")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{page}: no heading {link}")
    return found


if __name__ == "__main__":
    lines = [line for name in sys.argv[1:] for line in broken(Path(name))]
    print(*lines, sep="\n", file=sys.stderr, end="\n" if lines else "")
    sys.exit(bool(lines))
