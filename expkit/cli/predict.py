"""`python -m expkit predict RUN FILE...`: answers for files from a run's exported model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from expkit.checkpoint import CheckpointFolder
from expkit.export.places import find_export
from expkit.predict import FileAnswer, Predictor
from expkit.runs import find_run

MOST_LABELS = 3


def main(arguments: list[str]) -> int:
    """Print an answer for each file.

    Args:
        arguments: behind the verb.

    Returns:
        0; 2 when a file could not be read (the others are answered).
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit predict",
        description="Answer for files with the exported model of a run, or the weights of a checkpoint: images for an "
        "image model, CSV for a table.",
        epilog="example: python -m expkit predict last digit.png",
    )
    parser.add_argument("run", help="run folder, run id, MLflow run id, `last`, or the folder of a checkpoint")
    parser.add_argument("files", nargs="+", metavar="FILE", help="image or CSV file")
    parser.add_argument("--runs-dir", default="runs", help="where runs are (default: runs)")
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        help="use the weights of this checkpoint (default: the export; without one, the best checkpoint)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a file, for programs")
    options = parser.parse_args(arguments)
    predictor = _predictor(options.run, Path(options.runs_dir), options.checkpoint)
    answers = predictor.files(options.files)
    if options.json:
        for answer in answers:
            print(json.dumps(asdict(answer)))  # noqa: T201 - this is the program's output
    else:
        _show(answers, predictor.description)
    return 2 if any(answer.error for answer in answers) else 0


def _predictor(reference: str, runs_dir: Path, which: str | None) -> Predictor:
    if (Path(reference) / "manifest.json").is_file():
        return Predictor.of_checkpoint(Path(reference).absolute())
    folder = find_run(reference, runs_dir, having="checkpoints" if which else "export").absolute()
    checkpoints = CheckpointFolder(folder / "checkpoints")
    if which is None and not (folder / "export").is_dir() and checkpoints.folder.is_dir():
        print("This run has no export; its best checkpoint answers.", file=sys.stderr)  # noqa: T201 - for people
        which = "best"
    return (
        Predictor.of_export(find_export(folder / "export"))
        if which is None
        else Predictor.of_checkpoint(checkpoints.path(which))
    )


def _show(answers: Sequence[FileAnswer], description: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    data = description.get("data", {})
    if data.get("source", {}).get("stand_in_for"):
        console.print(f"[yellow]This model was trained on {data['name']}.[/yellow]", soft_wrap=True)
    table = Table()
    table.add_column("file", overflow="fold")
    kind = description["target"]["kind"]
    for column in ("label", "probability", "next best") if kind == "classes" else ("answer",):
        table.add_column(column)
    for answer in answers:
        for number, one in enumerate(answer.answers, start=1):
            name = answer.file if len(answer.answers) == 1 else f"{answer.file}, row {number}"
            table.add_row(name, *(_class_cells(one) if kind == "classes" else (_values(one),)))
    if table.row_count:
        console.print(table)
    for answer in answers:
        if answer.error:
            print(f"error: {answer.file}: {answer.error}", file=sys.stderr)  # noqa: T201 - the program's error output


def _class_cells(answer: dict[str, Any]) -> tuple[str, str, str]:
    ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])[1:MOST_LABELS]
    return (
        answer["label"],
        f"{answer['probability']:.1%}",
        ", ".join(f"{label} {probability:.1%}" for label, probability in ranked),
    )


def _values(answer: dict[str, Any]) -> str:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in answer["values"].items())
    return f"{shown} ({answer['unit']})" if answer["unit"] else shown
