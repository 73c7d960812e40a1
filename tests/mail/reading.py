"""Mail as its reader sees it."""

from __future__ import annotations

import re
from email.message import EmailMessage
from html.parser import HTMLParser


def text_of(message: EmailMessage, subtype: str = "plain") -> str:
    """Return the content of the part that a mail program shows, with plain line ends."""
    part = message.get_body((subtype,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n").strip()


def paragraphs_of_text(message: EmailMessage) -> list[str]:
    """Return the paragraphs of the text part."""
    return re.split(r"\n\s*\n", text_of(message))


class HtmlPage(HTMLParser):
    """Read the HTML part as a browser would: what is shown, and what the page is made of."""

    def __init__(self, message: EmailMessage) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[str] = []
        self.emphasised: list[str] = []
        self.title = ""
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._inside: list[str] = []
        self.feed(text_of(message, "html"))
        self.close()
        assert self._inside == [], "every element has its end"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter an element."""
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "p":
            self.paragraphs.append("")
        elif tag == "br":
            self.paragraphs[-1] += "\n"
        if tag not in {"br", "meta"}:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        """Show text."""
        if "p" in self._inside:
            self.paragraphs[-1] += data
        elif "title" in self._inside:
            self.title += data
        else:
            assert not data.strip(), "all text is in a paragraph"
        if "strong" in self._inside:
            self.emphasised.append(data)
