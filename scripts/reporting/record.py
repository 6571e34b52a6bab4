"""One file of results, `docs/results.json`, that this command writes; pages show what it holds, which a test checks.

``tables`` are of `scripts/report.py` and of the scripts of theory, analysis and benchmarks, each with the commands, the
machines, the commit and the day that it is from. ``numbers`` are what one page tells of other commands (on a GPU, on
another processor), as these printed it.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nne.training.io.results import Row, insert
from reporting.page import Section

Record = dict[str, Any]
NUMBER = re.compile(r"(?<![\w.^#-])\d[\d,]*(?:\.\d+)?(?=\s?%)|(?<![\w.^#-])\d[\d,]*\.\d+(?![\w.])")
"""A measured number as pages print it: with decimals, or in per cent."""


def read(path: Path) -> Record:
    """The record, or an empty one."""
    record: Record = json.loads(path.read_text()) if path.exists() else {"tables": {}, "numbers": {}}
    return record


def update(path: Path, sections: Iterable[Section], about: Mapping[str, str], only: Sequence[str] = ()) -> Record:
    """Put the tables of a report (or ``only`` some) in the place of those of the same names, and write the record."""
    record = read(path)
    for section in sections:
        chosen = ((name, rows) for name, rows in section.tables.items() if not only or name in only)
        for name, rows in chosen:
            source = {"commands": section.commands, "machines": about["machines"], "commits": about["commits"]}
            record["tables"][name] = {"from": source | {"day": time.strftime("%Y-%m-%d")}, "rows": rows}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def fill(record: Record, document: Path) -> None:
    """Have a document show what the record holds, where it has a place for it."""
    insert({name: table["rows"] for name, table in record["tables"].items()}, document)


def numbers_of(document: str) -> list[str]:
    """The measured numbers that a page in Markdown tells, outside of code and of links."""
    text = re.sub(r"```.*?```|<!-- table \w+ -->.*?<!-- end -->", "", document, flags=re.DOTALL)
    text = re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)|https?://\S+", "", text)
    return [number.replace(",", "") for number in NUMBER.findall(text)]


def unfounded(document: str, page: str, record: Record, settings: Iterable[str]) -> list[str]:
    """The numbers of a page that are in no table of the record, among its own numbers, or one of the settings."""
    rows = [row for table in record["tables"].values() for row in table["rows"]]
    told = {number for row in rows for cell in row.values() for number in re.findall(r"\d+(?:\.\d+)?", plain(cell))}
    exact = {*map(float, told), *map(float, settings)}
    own = record["numbers"].get(page, {}).get("values", [])

    def founded(number: str) -> bool:
        digits = len(number.partition(".")[2])
        return number in own or any(f"{value:.{digits}f}" == number for value in exact)

    return [number for number in numbers_of(document) if not founded(number)]


def plain(cell: str) -> str:
    """A cell without commas in its numbers."""
    return cell.replace(",", "") if re.search(r"\d,\d{3}", cell) else cell


def missing(document: str, record: Record) -> list[str]:
    """The tables that a page does not show as the record holds them."""
    places = re.findall(r"<!-- table (\w+) -->(.*?)<!-- end -->", document, flags=re.DOTALL)
    return [name for name, shown in places if not _same(shown, record["tables"].get(name, {}).get("rows", []))]


def _same(shown: str, rows: list[Row]) -> bool:
    lines = [[cell.strip() for cell in line.strip()[1:-1].split("|")] for line in shown.strip().splitlines()[2:]]
    return [[cell.strip() for cell in row.values()] for row in rows] == lines
