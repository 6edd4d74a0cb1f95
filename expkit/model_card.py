"""The text of a run's page: what it is, how good, on which data, how to repeat it, how to use it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

SPLITS = ("train", "valid", "test")
PLACES = {
    "root": "dataset.root",
    "env": "EXPKIT_DATA_DIR",
    "cache": "the cache",
    "download": "downloaded",
    "package": "comes with a package",
    "stand-in": "stand-in",
}
"""How data was found, in words, by the kind of its source."""
LINE = 76
"""Characters of a line of code: a longer one pushes what is beside the text out of MLflow's page."""


def describe_run(
    *,
    experiment: str,
    choices: Mapping[str, str],
    data_name: str,
    data_source: tuple[str, str],
    stand_in_for: str | None = None,
    fingerprint: str = "",
    sizes: Mapping[str, int],
    metrics: Mapping[str, float],
    best_epoch: int = 0,
    epochs: int = 0,
    ended: str = "",
    facts: Mapping[str, str] | None = None,
    repeat: str,
    reproduce: str = "",
    predict: str = "",
    model: tuple[str, str, str] | None = None,
) -> str:
    """Return the description as markdown.

    Args:
        experiment: name of the experiment.
        choices: component chosen for each kind, such as {"model": "cnn", "optimizer": "adam"}.
        data_name: the data's true name.
        data_source: how it was found, and where: ("download", "https://...").
        stand_in_for: name of the dataset that was asked for, when this data only takes its place.
        fingerprint: SHA-256 of the data.
        sizes: samples by split.
        metrics: of the best weights, named "split/metric".
        best_epoch: epoch of these weights; 0 when unknown.
        epochs: epochs that were trained.
        ended: why there is no result, and how to go on.
        facts: more lines for people, such as {"seed": "1", "device": "cpu"}.
        repeat: command line that makes this run again.
        reproduce: command line that does so and compares the two; empty when there is none yet.
        predict: command line that uses its model; empty when there is none.
        model: URI of the store and of the model in MLflow, and what it takes, in words.
    """
    # MLflow shows some 100 pixels before "Show more": the headline and the result.
    blocks = [
        f"### {experiment}: {_what(choices, data_name)}{_headline(metrics)}",
        _warning(data_name, stand_in_for),
        _result(metrics, best_epoch, epochs, ended),
        "#### Data",
        _data(data_name, data_source, fingerprint, sizes),
        "#### Choices",
        aligned([*choices.items(), *(facts or {}).items()]),
        "#### Make it again",
        code(repeat),
        *(["the same and compare, step by step:", code(reproduce)] if reproduce else []),
        *_use(predict, model),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def describe_version(
    *,
    monitor: str,
    metrics: Mapping[str, float],
    best_epoch: int,
    data_name: str,
    stand_in_for: str | None,
    fingerprint: str,
    facts: Mapping[str, str],
) -> str:
    """Return the text of a registered version's page as markdown.

    Args:
        monitor: metric by which versions are compared, such as "valid/accuracy".
        metrics: of its weights, named "split/metric".
        best_epoch: epoch of these weights; 0 when unknown.
        data_name: the data's true name.
        stand_in_for: name of the dataset that was asked for, when this data only takes its place.
        fingerprint: SHA-256 of the data.
        facts: more lines for people, such as {"format": "onnx"}.
    """
    # MLflow's table of versions shows the first line, as it is.
    headline = (
        f"{monitor} {_number(metrics.get(monitor))}{_headline(metrics).replace(':', ',', 1)}, on {_flat(data_name)}"
    )
    lines = [f"- {name}: {_flat(text)}" for name, text in facts.items()]
    lines.append(f"- data: {_flat(data_name)}, fingerprint `{fingerprint[:12]}`")
    blocks = [headline, _warning(data_name, stand_in_for), _result(metrics, best_epoch, 0, ""), "\n".join(lines)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def code(command: str) -> str:
    """Return a command line as a block of markdown, broken where it is long."""
    try:
        words = [shlex.quote(word) for word in shlex.split(command)]
    except ValueError:  # a quote that is not closed: as it is
        words = [command]
    lines = [""]
    for word in words:
        if lines[-1].strip() and len(lines[-1]) + len(word) >= LINE:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return _fenced(" \\\n".join(lines), "bash")


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return a table as a block of aligned text: MLflow's page leaves no room between the cells of markdown's own."""
    cells = [[_flat(cell).replace("`", "'") for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return _fenced("\n".join(lines), "text")


def _what(choices: Mapping[str, str], data_name: str) -> str:
    parts = [choices[kind] for kind in ("model", "optimizer") if choices.get(kind)]
    return f"{' + '.join(parts) or 'a model'} on {data_name}"


def _headline(metrics: Mapping[str, float]) -> str:
    """The test result in words: the first line is all that many pages show."""
    tested = {name[5:]: value for name, value in metrics.items() if name.startswith("test/")}
    for name in sorted(tested, key=lambda name: name == "loss"):
        return f": test {name} {_number(tested[name])}"
    return ""


def _warning(data_name: str, stand_in_for: str | None) -> str:
    if stand_in_for is None:
        return ""
    return (
        f"> **NOT {stand_in_for.upper()}.** {stand_in_for} was neither found on this machine nor downloaded; "
        f"**{data_name}** took its place. The numbers below say nothing about {stand_in_for}."
    )


def _result(metrics: Mapping[str, float], best_epoch: int, epochs: int, ended: str) -> str:
    splits = _ordered({name.split("/", 1)[0] for name in metrics if "/" in name})
    if not splits:
        return ended or "No result yet: it is still training, or was killed before it could say so."
    columns = list(dict.fromkeys(name.split("/", 1)[1] for name in metrics if "/" in name))
    rows = [[split, *(_number(metrics.get(f"{split}/{column}")) for column in columns)] for split in splits]
    text = aligned([["", *columns], *rows])
    if best_epoch:
        text += f"\n\nWeights of epoch {best_epoch}" + (f" of {epochs}, the best ones." if epochs else ".")
    return text


def _data(name: str, source: tuple[str, str], fingerprint: str, sizes: Mapping[str, int]) -> str:
    kind, location = source
    counts = ", ".join(f"{sizes[split]:,} {split}" for split in _ordered(set(sizes)))
    how = f" ({PLACES[kind]})" if kind in PLACES else ""
    lines = [f"- **{_flat(name)}**, from {_flat(location)}{how}", f"- samples: {counts}" if counts else ""]
    if fingerprint:
        lines.append(f"- fingerprint `{fingerprint[:12]}`: equal fingerprints mean equal data")
    return "\n".join(line for line in lines if line)


def _use(predict: str, model: tuple[str, str, str] | None) -> list[str]:
    blocks = [code(predict)] if predict else []
    if model:
        store, uri, takes = model
        lines = [
            "import mlflow",
            f'mlflow.set_tracking_uri("{store}")',
            f'model = mlflow.pyfunc.load_model("{uri}")',
            f"model.predict(raw)  # {takes}",
        ]
        blocks.append(_fenced("\n".join(lines), "python"))
    return ["#### Predict", *blocks] if blocks else []


def _flat(text: str) -> str:
    return " ".join(str(text).split())


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _ordered(splits: Iterable[str]) -> list[str]:
    return sorted(splits, key=lambda s: (SPLITS.index(s) if s in SPLITS else len(SPLITS), s))
