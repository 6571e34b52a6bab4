"""The report: each table against runs whose figures are known, the figures drawn, the README filled in."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

import report
from benchmarks import evolutions
from nne.registry import CONFIGS, LEARNERS
from nne.training.cli import check, register
from nne.training.config import to_dict
from nne.training.io.results import Run, find_runs, insert, markdown, settings, spread
from reporting import tables
from tests.conftest import Command, call

FIGURES = ("table1", "table2", "dopamine", "learning", "figure2", "trajectories", "figure3b", "caps", "linear")


def finished(folder: Path, experiment: str, *overrides: str, dataset: str = "mnist", **summary: Any) -> Run:
    """A finished run's folder, with a learning curve of two points."""
    register(LEARNERS)
    (job,) = check([f"experiment={experiment}", *overrides], False, CONFIGS, LEARNERS)
    headline = "test/individuals" if job.config.learner.name == "evolution" else "test/accuracy"
    result = {
        **{"headline": headline, "result": "test_accuracy"},
        **{"experiment": experiment, "seed": job.config.seed, "dataset": dataset, "steps": 20, "seconds": 9.0},
        **{
            "device": "a machine",
            "command": "python scripts/train.py",
            "test_accuracy": 0.9,
            "config": to_dict(job.config),
            **summary,
        },
    }
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(result))
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", headline, "speed/seconds", "speed/steps_per_second"])
        writer.writerows([[1, 0.5, 1.0, 4.0], [2, "", 2.0, 2.0], [20, result["test_accuracy"], 9.0, 5.0]])
    return Run(folder, result)


def evolved(accuracy: float) -> dict[str, Any]:
    individuals = {"mean": accuracy, "sd": 0.0, "count": 5}
    return {"test_accuracy": accuracy, "individuals": individuals, "mean_weights": 0.8, "vote": 0.8, "generations": 20}


def test_table_1_holds_runs_of_the_experiment_as_it_is_written_and_no_others(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        finished(tmp_path / f"sgd{seed}", "sgd_mnist10", f"seed={seed}", "device=cpu", test_accuracy=accuracy)
    finished(tmp_path / "other rate", "sgd_mnist10", "learner.learning_rate=0.5", test_accuracy=0.1)
    finished(tmp_path / "shorter", "sgd_mnist10", "trainer.max_steps=3", test_accuracy=0.1)
    finished(tmp_path / "other digits", "sgd_mnist10", dataset="embedded", test_accuracy=0.1)
    finished(tmp_path / "nne", "nne_mnist5", **evolved(0.95))
    runs = find_runs([tmp_path])
    known = report.experiments(runs)
    other, shorter = tables.others(runs, known)
    assert (other["otherwise"], other["ours"]) == ("`learner.learning_rate=0.5`", "10.00")
    assert shorter["otherwise"] == "`trainer.max_steps=3`"
    rows = tables.table_1(runs, known)
    assert [(row["model"], row["digits"]) for row in rows] == [("NNE", "0 to 4"), ("SGD", "0 to 9")]
    assert rows[0] | {"ours": "95.00", "difference": "+2.90", "paper": "92.1", "seeds": "0"} == rows[0]
    sgd = {"paper": "88.2 ± 0.75", "ours": "91.00 ± 1.00", "difference": "+2.80", "seeds": "0,1", "seconds": "9"}
    assert rows[1] | sgd == rows[1]


def test_every_cell_of_both_tables_is_an_experiment() -> None:
    known = {file.stem for file in (CONFIGS / "experiment").glob("*.yaml")}
    assert {cell[2] for cell in (*tables.TABLE_1, *tables.TABLE_2)} <= known
    assert {cell[3] for cell in tables.TABLE_1} == {92.1, 78.8, 91.6, 85.6, 96.0, 88.2, None}
    assert {cell[3] for cell in tables.TABLE_2} == {90.34, 92.56, 86.84, 90.21, 84.84, 90.76}


def test_settings_are_what_differs_from_the_experiment(tmp_path: Path) -> None:
    other = "learner.rule=text", "features.standardise=false"
    run = finished(tmp_path / "run", "dnn_h1000", "seed=3", "data=mnist", *other)
    assert settings(run, report.experiments([run])["dnn_h1000"]) == {
        "features.standardise": False,
        "learner.rule": "text",
    }


def test_readings_stand_side_by_side_at_each_width(tmp_path: Path) -> None:
    otherwise = ["learner.presynaptic=binary", "learner.batch=50", "learner.initial=zero", "learner.decay=linear"]
    for name, overrides, accuracy in (
        ("a", ["dnn_h1000"], 0.85),
        ("b", ["dnn_h1000", "seed=1"], 0.83),
        ("c", ["dnn_h100k"], 0.90),
        ("d", ["dnn_h1000", "learner.rule=literal"], 0.002),
        ("e", ["dnn_infinite"], 0.93),
        ("f", ["dnn_kcap"], 0.99),
        ("g", ["dnn_h1000", "trainer.max_steps=3"], 0.99),
        ("h", ["dnn_h1000", "learner.path=primal"], 0.99),
        ("i", ["dnn_h1000", *otherwise], 0.5),
    ):
        finished(tmp_path / name, *overrides, test_accuracy=accuracy)
    runs = find_runs([tmp_path])
    rows = tables.readings(runs, report.experiments(runs))
    assert [list(row.values()) for row in rows] == [
        ["`reward_prediction_drawn`", "30000", "raw pixels, averaged weights", "", "", "93.0 (1)"],
        ["`gated`", "1", "", "84.0 ± 1.0 (2)", "90.0 (1)", ""],
        ["`gated`", "1", "1[h > 0] for h, batch 50, W = 0 at first, ε1 falling to 0", "50.0 (1)", "", ""],
        ["`literal`", "1", "", "0.2 (1)", "", ""],
    ]


def test_caps_stand_side_by_side_with_the_free_layer_last(tmp_path: Path) -> None:
    for cap, accuracy in ((1024, 0.91), (64, 0.89)):
        finished(tmp_path / f"k{cap}", "dnn_kcap", f"features.cap={cap}", test_accuracy=accuracy)
        finished(tmp_path / f"primal{cap}", "dnn_kcap", f"features.cap={cap}", "learner.path=primal")
    finished(tmp_path / "free", "dnn_h100k", test_accuracy=0.9)
    finished(tmp_path / "narrow", "dnn_h1000", test_accuracy=0.1)
    finished(tmp_path / "free otherwise", "dnn_h100k", "learner.initial=zero", test_accuracy=0.1)
    runs = find_runs([tmp_path])
    (row,) = tables.caps(runs, {})
    assert list(row.items())[-3:] == [("k = 64", "89.0"), ("k = 1024", "91.0"), ("k = none", "90.0")]
    assert row["learner"] == "`gated`"
    (costs,) = tables.cap_costs(runs, {})
    assert list(costs.items())[-2:] == [("k = 64", "250"), ("k = 1024", "250")]  # the median of 4, 2, 5 steps a second


def test_individuals_before_and_after(tmp_path: Path) -> None:
    born, grown = {"each": [0.8, 0.82]}, {"each": [0.9, 0.81]}
    finished(tmp_path / "run", "nne_signsgd_mnist10", before=born, after=grown)
    (row,) = tables.finetuning(find_runs([tmp_path]), {})
    assert (row["before"], row["after"], row["improved"]) == ("81.00", "85.50", "1 of 2")


def test_seconds_to_the_papers_accuracy_need_every_seed_to_pass(tmp_path: Path) -> None:
    passed = finished(tmp_path / "a", "nne_mnist10", **evolved(0.8))
    missed = finished(tmp_path / "b", "nne_mnist10", "seed=1", **evolved(0.7))
    assert evolutions.seconds_to(78.8, [passed]) == "9.0"
    assert evolutions.seconds_to(78.8, [passed, missed]) == ""


def test_variants_of_an_experiment_answer_the_papers_questions(tmp_path: Path) -> None:
    for name, accuracy, overrides in (
        ("a", 0.88, []),
        ("b", 0.90, ["seed=1"]),
        ("c", 0.80, ["learner.freeze=0.01"]),
        ("d", 0.70, ["learner.batch=1", "trainer.max_steps=5"]),
        ("e", 0.85, ["learner.selection=igo"]),
        ("h", 0.75, ["network.hidden=[100,50]"]),
        ("f", 0.60, ["learner.selection=pbil", "learner.epsilon=0.5", "learner.epsilon_final=null"]),
        ("g", 0.99, ["learner.genes=300"]),
    ):
        finished(tmp_path / name, "nne_mnist10", *overrides, **evolved(accuracy))
    finished(tmp_path / "other digits", "nne_mnist10", dataset="embedded", **evolved(0.1))
    runs = find_runs([tmp_path])
    known = report.experiments(runs)
    asked = [(row["question"], row["otherwise"], row["individuals"]) for row in evolutions.questions(runs, known)]
    assert asked == [
        ("the experiment as it is", "", "89.00 ± 1.00"),
        ("2. fixing alleles", "`learner.freeze=0.01`", "80.00"),
        ("3. more layers", "`network.hidden=[100,50]`", "75.00"),
        ("one image at a time", "`learner.batch=1` `trainer.max_steps=5`", "70.00"),
    ]
    rules = [list(row.values()) for row in evolutions.selection(runs, known)]
    assert rules == [
        [
            *("`population_genetics`", "1.5 to 15", "20 ± 0", "9 ± 0", "20 (1 of 2)", "9 (1 of 2)"),
            *("89.00 ± 1.00", "80.00 ± 0.00", "0,1"),
        ],
        ["`igo`", "1.5 to 15", "20", "9", "never", "never", "85.00", "80.00", "0"],
        ["`pbil`", "0.5", "never", "never", "never", "never", "60.00", "80.00", "0"],
    ]
    assert evolutions.speed(runs[0], first=True) == pytest.approx(3 / (1 / 4 + 1 / 2 + 1 / 5))


def test_a_run_that_was_made_twice_counts_once(tmp_path: Path) -> None:
    for name, bits in (("a", "1f"), ("b", "1f"), ("c", "2e")):
        finished(tmp_path / name, "sgd_mnist10", state_sha256=bits)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "summary.json").write_text("{")
    assert [run.folder.name for run in find_runs([tmp_path, tmp_path])] == ["a", "c"]


def test_spread_and_markdown() -> None:
    assert spread([1.0]) == "1.0"
    assert spread([1, 3], 2) == "2.00 ± 1.00"
    assert markdown([{"a": "1", "b": "2"}]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def reported(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call("report", *arguments, cwd=cwd)


def test_the_command_writes_tables_and_figures_and_fills_the_readme(tmp_path: Path, train: Command) -> None:
    small = ["data=embedded", "data.per_class=10", "network.hidden=20", "network.beta=0.02", "learner.population=30"]
    quick = ["learner.batch=20", "learner.test_individuals=5", "trainer.max_steps=3", "learner.stop_at_fixed=null"]
    done = train("-m", "experiment=nne_mnist10", *small, *quick, "learner.genes=50,100")
    assert done.returncode == 0, done.stderr
    tiny = ["learner.genes=50", "trainer.max_steps=3", "run_dir=outputs/linear"]
    assert train("experiment=nne_linear", *tiny).returncode == 0
    finished(tmp_path / "outputs" / "dnn", "dnn_kcap")
    finished(tmp_path / "outputs" / "free", "dnn_h100k")
    finished(tmp_path / "outputs" / "sgd", "sgd_mnist10", test_accuracy=0.889)
    finished(tmp_path / "outputs" / "stopped", "sgd_mnist10")
    (tmp_path / "outputs" / "stopped" / "summary.json").unlink()
    readme = tmp_path / "README.md"
    last = "after\n<!-- table finetuning -->\nkept<!-- end -->"
    readme.write_text(f"before\n<!-- table table1 -->\nold\n<!-- end -->\n{last}")
    done = reported("outputs", "--readme", "README.md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "`trainer.max_steps=3` | identity | 100 | embedded |" in done.stdout
    assert "| `nne_linear` | 50 | 50 | ∞ |" in done.stdout
    written = {path.name for path in (tmp_path / "outputs" / "report").iterdir()}
    assert written >= {f"{name}.csv" for name in ("table1", "table2", "readings", "caps", "evolution", "linear")}
    drawn = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")}
    assert {name for name in written if name.endswith(("png", "pdf"))} == drawn
    pdf = (tmp_path / "outputs/report/figure2.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type42" in pdf or b"/FontFile2" in pdf  # fonts as publishers want them
    assert b"/Type3" not in pdf
    markdown_page = (tmp_path / "outputs/report/report.md").read_text()
    assert all(f"({name}.png)" in markdown_page for name in FIGURES)
    assert "resume=outputs/stopped`" in markdown_page
    filled = readme.read_text()
    assert "old" not in filled
    assert "| SGD | 0 to 9 | 88.2 ± 0.75 | 88.90 |" in filled
    assert filled.endswith(last)
    row = {"model": "SGD"}
    insert({"table1": [row]}, readme)
    insert({"table1": [row]}, readme)
    assert readme.read_text().count("| SGD |") == 1
    look_at((tmp_path / "outputs/report/index.html").as_uri(), done.stdout)  # last: it may skip


def look_at(address: str, told: str) -> None:
    """In a real browser, where there is one: every figure and table is there, it fits a phone, nothing complains."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("all but the look in a browser: there is none here")
    quiet = "--no-sandbox --disable-gpu --disable-quic --disable-background-networking --disable-component-update"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=quiet.split())
        page = chromium.new_page(viewport={"width": 390, "height": 800})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url[:80]))
        page.goto(address)
        widths = page.evaluate("Object.fromEntries([...document.images].map(i => [i.id, [i.naturalWidth, i.width]]))")
        assert set(widths) == {f"figure-{name}" for name in FIGURES}
        assert all(natural > 100 and 100 < shown <= 390 for natural, shown in widths.values())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        tables_told = [line.removeprefix("## ") for line in told.splitlines() if line.startswith("## ")]
        assert page.evaluate("[...document.querySelectorAll('table')].map(t => t.id.slice(6))") == tables_told
        assert page.locator("pre", has_text="scripts/train.py").count() >= len(FIGURES) - 3
        assert page.locator("details[open]").count() == 0
        assert page.locator("p.caption").count() > 0
        backgrounds = []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert backgrounds[0] == "rgb(255, 255, 255)" != backgrounds[1]
        assert page.pdf()[:4] == b"%PDF"
        chromium.close()
        assert complaints == []


def test_where_there_is_nothing_to_report_it_says_so(tmp_path: Path) -> None:
    done = reported(str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no run under")
    done = reported(str(tmp_path), "out=there", cwd=tmp_path)
    assert done.stderr == "error: there is no folder out=there; write --out there\n"


def test_parts_without_runs_are_left_out() -> None:
    assert report.from_runs([], {}) == []
