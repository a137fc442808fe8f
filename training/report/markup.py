"""HTML from small functions: text is escaped here and nowhere else."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Markup:
    """Text that is already HTML."""

    text: str


Content = Markup | str


def join(parts: Iterable[Content]) -> Markup:
    """Parts one after the other, plain text escaped."""
    return Markup("".join(escaped(part) for part in parts))


def escaped(part: Content) -> str:
    """HTML as it is, text escaped."""
    return part.text if isinstance(part, Markup) else html.escape(part)


def tag(name: str, *content: Content, **attributes: str) -> Markup:
    """An element; `class_="note"` is its class, `aria_label` its aria-label."""
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    return Markup(f"<{name}{named}>{join(content).text}</{name}>")


def paragraph(*content: Content, class_: str = "") -> Markup:
    """A paragraph."""
    return tag("p", *content, class_=class_) if class_ else tag("p", *content)


def section(title: str, *content: Content) -> Markup:
    """A section with its heading."""
    return tag("section", tag("h2", title), *content)


def missing(*sentence: Content) -> Markup:
    """What cannot be shown, and why."""
    return paragraph(*sentence, class_="missing")


def figure(picture: Markup, caption: str) -> Markup:
    """A picture with what it shows."""
    return tag("figure", tag("div", picture, class_="scroll"), tag("figcaption", caption))


def table(
    heads: Sequence[str], rows: Iterable[Sequence[Content]], *, numbers_from: int = 1
) -> Markup:
    """A table; columns from `numbers_from` on hold numbers and are set to the right."""

    def line(cell: str, cells: Sequence[Content]) -> Markup:
        return tag(
            "tr",
            *(
                tag(cell, each, class_="number" if place >= numbers_from else "text")
                for place, each in enumerate(cells)
            ),
        )

    head = tag("thead", line("th", heads))
    body = tag("tbody", *(line("td", row) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll")


def facts(rows: Iterable[tuple[str, str]]) -> Markup:
    """Names with their values, in two columns."""
    lines = (tag("tr", tag("th", name, class_="text"), tag("td", value)) for name, value in rows)
    return tag("div", tag("table", tag("tbody", *lines), class_="facts"), class_="scroll")


def folded(summary: str, *content: Content) -> Markup:
    """Content that opens when its summary is clicked."""
    return tag("details", tag("summary", summary), *content)
