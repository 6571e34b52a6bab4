"""A report as one HTML page that needs no other file, and as Markdown beside its figures."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from io import BytesIO, StringIO
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.figure import Figure

from nne.training.io.results import Row, markdown, write_csv
from nne.training.logging import figures

Drawing = Figure | Path  # a PNG file
TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Section:
    """What a reader sees of one part: tables, each with its caption, figures, and the commands that make it again."""

    title: str
    text: str
    tables: dict[str, list[Row]]
    figures: Mapping[str, Drawing]
    commands: list[str]
    captions: Mapping[str, str] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        return re.sub(r"\W+", "-", self.title.lower()).strip("-")


def write(sections: list[Section], about: dict[str, str], out: Path) -> list[str]:
    """Write ``index.html`` and ``report.md``, each table as CSV, each figure as PNG and PDF; the names of the files."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for section in sections:
        for name, rows in section.tables.items():
            write_csv(rows, out / f"{name}.csv")
            written.append(f"{name}.csv")
        for name, figure in section.figures.items():
            written += keep(figure, name, out)
    (out / "index.html").write_text(html(sections, about))
    (out / "report.md").write_text(as_markdown(sections, about))
    return [*written, "index.html", "report.md"]


def keep(figure: Drawing, name: str, out: Path) -> list[str]:
    """Write a figure for papers; one that is a picture already is copied."""
    if isinstance(figure, Path):
        (out / f"{name}.png").write_bytes(figure.read_bytes())
        return [f"{name}.png"]
    figures.write(figure, out / f"{name}.png")
    figures.write(figure, out / f"{name}.pdf", metadata={"CreationDate": None})
    return [f"{name}.png", f"{name}.pdf"]


def html(sections: list[Section], about: dict[str, str]) -> str:
    """The page; pictures are drawn in it as SVG, sharp on any screen and in print."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    environment.filters |= {"cell": cell, "picture": picture}
    return environment.get_template(TEMPLATE).render(sections=sections, about=about)


def cell(text: str) -> Markup:
    """Text of a table, with what stands between backquotes as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text)))


def picture(figure: Drawing) -> str:
    """A figure as the address of an image. The same figure gives the same text."""
    if isinstance(figure, Path):
        return "data:image/png;base64," + base64.b64encode(figure.read_bytes()).decode()
    drawn = StringIO()
    figures.write(figure, drawn, format="svg", metadata={"Date": None})
    if len(drawn.getvalue()) < 400_000:
        return "data:image/svg+xml;base64," + base64.b64encode(drawn.getvalue().encode()).decode()
    pixels = BytesIO()
    figures.write(figure, pixels, format="png", dpi=200)
    return "data:image/png;base64," + base64.b64encode(pixels.getvalue()).decode()


def as_markdown(sections: list[Section], about: dict[str, str]) -> str:
    """The same for places that show Markdown."""
    parts = ["# Learning without backpropagation: report", *(f"{name}: {value}  " for name, value in about.items())]
    for section in sections:
        parts += [f"\n## {section.title}\n", section.text]
        for name, rows in section.tables.items():
            parts += [f"\n{markdown(rows)}", *([f"\n{section.captions[name]}"] if name in section.captions else [])]
        parts += [f"\n![{section.title}]({name}.png)" for name in section.figures]
        if section.commands:
            parts += ["\nMade by\n", *(f"    {command}" for command in section.commands)]
    return "\n".join(parts) + "\n"
