"""What is in a page: its elements, its scripts and its text."""

from collections import Counter
from html.parser import HTMLParser

NASTY = "</script><img src=x onerror=alert(1)>{{7123*7919}}javascript:alert(2)\x1b[31m\u202e"


class Elements(HTMLParser):
    """Counts elements with their attributes' names, and collects what is in scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag, tuple(sorted(name for name, _ in attrs))] += 1
        self._in = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        else:
            self.text.append(data)


def shown(text: str) -> str:
    return " ".join(" ".join(Elements(text).text).split())
