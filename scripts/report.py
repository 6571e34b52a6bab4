"""Read finished runs; print tables, draw figures: `python scripts/report.py outputs [--readme FILE ...]`.

Prints, as Markdown: Table 1 and Table 2 with the paper's values beside ours (mean ± sd over seeds); individuals before
and after learning in their lifetime; every reading of the dopamine rule; the k-cap; every evolution; what the paper
asks in Sec. 4; rules of selection; linear targets.
Writes each table as CSV beside the figures: learning curves, Figures 2 and 3, the k-cap, linear targets. With
`--readme`, what stands between `<!-- table NAME -->` and `<!-- end -->` in a file gives way to the table of that name.
"""

import argparse
import re
import sys
from pathlib import Path

import evolutions
import pictures
import tables
from learners import CONFIGS, LEARNERS
from training.command_line import check, register
from training.config import to_dict
from training.errors import UserError, exit_code
from training.results import Row, find_runs, markdown, write_csv
from training.run_folder import SUMMARY

TABLES = {
    "table1": tables.table_1,
    "table2": tables.table_2,
    "others": tables.others,
    "lifetimes": tables.lifetimes,
    "readings": tables.readings,
    "caps": tables.caps,
    "cap_costs": tables.cap_costs,
    "evolution": evolutions.evolution,
    "questions": evolutions.questions,
    "selection": evolutions.selection,
    "linear": evolutions.linear,
}


def experiments() -> tables.Experiments:
    """The configuration of every experiment file."""
    register(LEARNERS)
    names = sorted(file.stem for file in (CONFIGS / "experiment").glob("*.yaml"))
    return {name: to_dict(check([f"experiment={name}"], False, CONFIGS, LEARNERS)[0].config) for name in names}


def insert(found: dict[str, list[Row]], document: Path) -> None:
    """Put the tables where a document has room for them."""

    def filled(place: re.Match[str]) -> str:
        rows = found.get(place[2])
        return f"{place[1]}\n\n{markdown(rows)}\n\n{place[3]}" if rows else place[0]

    places = re.compile(r"(<!-- table (\w+) -->).*?(<!-- end -->)", re.DOTALL)
    document.write_text(places.sub(filled, document.read_text()))


def report(folders: list[Path], out: Path, documents: list[Path]) -> None:
    """Print the tables and write the files."""
    runs = find_runs(folders)
    if not runs:
        raise UserError(f"no finished run (no {SUMMARY}) under {', '.join(map(str, folders))}")
    known = experiments()
    found = {name: make(runs, known) for name, make in TABLES.items()}
    found = {name: rows for name, rows in found.items() if rows}
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in found.items():
        print(f"\n## {name}\n\n{markdown(rows)}")
        write_csv(rows, out / f"{name}.csv")
    drawn = pictures.draw(runs, known, out)
    files = [f"{name}.csv" for name in found] + drawn
    print(f"\nwritten to {out}: {', '.join(files)}")
    for document in documents:
        insert(found, document)
        print(f"tables put into {document}")


def main() -> int:
    """Parse the command line and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("outputs")], help="where to look for runs")
    parser.add_argument("--out", type=Path, default=Path("outputs/report"), help="where to write")
    parser.add_argument("--readme", nargs="+", type=Path, default=[], help="Markdown files to put the tables into")
    arguments = parser.parse_args()
    return exit_code(lambda: report(arguments.folders, arguments.out, arguments.readme))


if __name__ == "__main__":
    sys.exit(main())
