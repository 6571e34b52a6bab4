"""Everything that runs found, as a page to read and figures for papers: `python scripts/report.py outputs`.

Writes `outputs/report/index.html` (one file that needs no other), the same as `report.md`, every table as CSV and every
figure as PNG and PDF: Tables 1 and 2 and Figures 2 and 3 with the paper's values beside ours (mean ± standard error
over seeds), learning curves, trajectories of alleles, readings of the dopamine rule, the k-cap, whatever was swept,
what Sec. 2 and 4 are about. Each part is there as soon as there are runs for it; what is unfinished is listed with the
command that goes on with it.
With `--readme`, what stands between `<!-- table NAME -->` and `<!-- end -->` in a file gives way to that table. With
`--record docs/results.json` the tables are kept there beside those of other runs, and documents show what is kept.
"""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from nne.registry import CONFIGS, LEARNERS
from nne.training.cli import check, register
from nne.training.config import to_dict
from nne.training.errors import UserError, exit_code, require
from nne.training.io import provenance
from nne.training.io.results import Run, find_runs, find_unfinished, markdown
from nne.training.logging.progress import track
from reporting import page, record, sweeps, tables
from reporting.animation import animate
from reporting.sections import PARTS, Draw


def experiments(runs: list[Run]) -> tables.Experiments:
    """The configuration of every experiment file that runs are of."""
    register(LEARNERS)
    names = sorted({run.experiment for run in runs} & {file.stem for file in (CONFIGS / "experiment").glob("*.yaml")})
    return {name: to_dict(check([f"experiment={name}"], False, CONFIGS, LEARNERS)[0].config) for name in names}


def from_runs(runs: list[Run], known: tables.Experiments) -> list[page.Section]:
    """Every part that there are runs for."""
    sections = []
    for part in track(PARTS, "parts", len(PARTS)):
        chosen = part.select(runs, known)
        rows = {name: made for name, make in part.tables.items() if (made := make(chosen, known))}
        figures = drawn(part.figures, chosen, known)
        if rows or figures:
            commands = list(dict.fromkeys(str(run.summary["command"]) for run in chosen))
            captions = {name: caption(part.tables[name]) for name in rows}
            sections.append(page.Section(part.title, part.text, rows, figures, commands, captions))
    return sections


def caption(make: Callable[..., object]) -> str:
    """The sentence under a table: what the function that makes it says of itself."""
    return " ".join((make.__doc__ or "").split("\n\n")[0].split())


def from_sweeps(runs: list[Run]) -> list[page.Section]:
    """Every key that was swept, of any learner, with the runs that differ in it."""
    sections = []
    for sweep in sweeps.sweeps(runs):
        title = f"Sweep of {sweep.key}: {sweep.experiment}, {sweep.dataset}"
        text = "Mean ± standard error over seeds; a dot is a run."
        commands = list(dict.fromkeys(str(run.summary["command"]) for run in sweep.runs))
        rows, drawings = {sweep.name: sweeps.table(sweep)}, {sweep.name: sweeps.figure(sweep)}
        sections.append(page.Section(title, text, rows, drawings, commands, {sweep.name: caption(sweeps.table)}))
    return sections


def drawn(draw: dict[str, Draw], runs: list[Run], known: tables.Experiments) -> dict[str, Figure]:
    """The figures that there are runs for; one whose checkpoint cannot be read is left out."""
    drawings = {}
    for name, make in draw.items():
        try:
            if figure := make(runs, known):
                drawings[name] = figure
        except UserError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return drawings


def from_analyses(folders: list[Path]) -> list[page.Section]:
    """What `scripts/theory.py` and `scripts/analyse.py` left: a table each, a figure, and the command."""
    sections = []
    for made_by in sorted({file for folder in folders for file in folder.rglob("*.command")}):
        with made_by.with_suffix(".csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        drawn = made_by.with_suffix(".png")
        figures = {made_by.stem: drawn} if drawn.exists() else {}
        title = f"Measured apart: {made_by.stem}"
        sections.append(page.Section(title, "", {made_by.stem: rows}, figures, [made_by.read_text().strip()]))
    return sections


def unfinished(folders: list[Path]) -> list[page.Section]:
    """Runs that have no summary yet, and how to go on with each."""
    rows = [
        {"run": f"{each.folder}", "step": f"{each.step:,}", "go on": f"`python scripts/train.py resume={each.folder}`"}
        for each in find_unfinished(folders)
    ]
    text = "Runs that have not ended, or were stopped; they count in nothing above."
    return [page.Section("Unfinished runs", text, {"unfinished": rows}, {}, [])] if rows else []


def about(runs: list[Run]) -> dict[str, str]:
    """Where all of it came from."""
    machines = sorted({str(run.summary["device"]) for run in runs})
    versions = sorted({f"{run.summary.get('versions', {}).get('torch', '?')}" for run in runs})
    commits = sorted({str(run.summary.get("git_commit"))[:12] for run in runs})
    return {
        "made by": provenance.command(),
        "runs": f"{len(runs)} finished",
        "machines": "; ".join(machines),
        "torch": ", ".join(versions),
        "commits": ", ".join(commits),
    }


def report(folders: list[Path], out: Path, documents: list[Path], results: Path | None, only: list[str]) -> None:
    """Write the page and the files, and print the tables; put them into a record and into documents.

    Raises:
        UserError: there is nothing to report, or it cannot be written.
    """
    for folder in folders:
        instead = f"; write --out {folder.name.removeprefix('out=')}" * folder.name.startswith("out=")
        require(folder.is_dir(), f"there is no folder {folder}{instead}")
    runs = find_runs(folders)
    sections = [*from_runs(runs, experiments(runs)), *from_sweeps(runs), *from_analyses(folders), *unfinished(folders)]
    if not sections:
        raise UserError(f"no run under {', '.join(map(str, folders))}; start one by: python scripts/train.py --help")
    try:
        files = page.write(sections, about(runs), out)
    except OSError as error:
        raise UserError(f"{out} cannot be written to ({error.strerror}); choose another --out") from error
    named = {name: rows for section in sections for name, rows in section.tables.items()}
    for name, rows in named.items():
        print(f"\n## {name}\n\n{markdown(rows)}")
    print(f"\nwritten to {out}: {', '.join(files)}\nopen {out / 'index.html'} in a browser")
    tables_of = {name: {"rows": rows} for name, rows in named.items()}
    known = record.update(results, sections, about(runs), only) if results else {"tables": tables_of}
    for document in documents:
        record.fill(known, document)
        print(f"tables put into {document}")


def animated(asked: str, out: Path | None) -> None:
    """The animation of a run, as ``evolution.webp`` among its figures or where ``out`` says.

    Raises:
        UserError: there is no such run, or no animation of it.
    """
    folder = Path(asked.removeprefix("run="))
    runs = [run for run in find_runs([folder]) if run.folder == folder]
    require(bool(runs), f"{asked}: there is no finished run")
    place = out or folder / "figures" / "evolution.webp"
    animate(runs[0], place)
    print(f"the animation is in {place}")


def main() -> int:
    """Parse the command line and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("outputs")], help="where to look for runs")
    parser.add_argument("--out", type=Path, help="where to write; default: outputs/report")
    parser.add_argument("--readme", nargs="+", type=Path, default=[], help="Markdown files to put the tables into")
    parser.add_argument("--record", type=Path, metavar="FILE", help="a file of results that the tables are kept in")
    parser.add_argument("--only", nargs="+", default=[], metavar="TABLE", help="of --record: keep no other tables")
    parser.add_argument("--animate", metavar="run=PATH", help="draw an evolution as a picture that moves, and no more")
    arguments = parser.parse_args()
    if arguments.animate:
        return exit_code(lambda: animated(arguments.animate, arguments.out))
    out = arguments.out or Path("outputs/report")
    return exit_code(lambda: report(arguments.folders, out, arguments.readme, arguments.record, arguments.only))


if __name__ == "__main__":
    sys.exit(main())
