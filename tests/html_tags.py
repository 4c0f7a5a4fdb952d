"""The tags of a page."""

from __future__ import annotations

import html.parser


class Tags(html.parser.HTMLParser):
    """Names and attributes of the tags that it is fed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
