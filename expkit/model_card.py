"""The text of a run's page: what it is, on which data, how good, how to repeat it, how to use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

SPLITS = ("train", "valid", "test")


def describe_run(
    *,
    experiment: str,
    choices: Mapping[str, str],
    data_name: str,
    data_source: str,
    stand_in_for: str | None = None,
    fingerprint: str = "",
    sizes: Mapping[str, int],
    metrics: Mapping[str, float],
    best_epoch: int = 0,
    epochs: int = 0,
    facts: Mapping[str, str] | None = None,
    repeat: str,
    predict: str = "",
    model_uri: str | None = None,
) -> str:
    """Return the description as markdown.

    Args:
        experiment: name of the experiment.
        choices: component chosen for each kind, such as {"model": "cnn", "optimizer": "adam"}.
        data_name: the data's true name.
        data_source: where it came from, such as "download: https://...".
        stand_in_for: name of the dataset that was asked for, when this data only takes its place.
        fingerprint: SHA-256 of the data.
        sizes: samples by split.
        metrics: of the best weights, named "split/metric".
        best_epoch: epoch of these weights; 0 when unknown.
        epochs: epochs that were trained.
        facts: more lines for people, such as {"seed": "1", "device": "cpu"}.
        repeat: command line that makes this run again.
        predict: command line that uses its model; empty when there is none.
        model_uri: of the model in MLflow.
    """
    blocks = [
        f"### {experiment}: {_what(choices, data_name)}{_headline(metrics)}",
        _warning(data_name, stand_in_for),
        "#### Result",
        _result(metrics, best_epoch, epochs),
        "#### Data",
        _data(data_name, data_source, fingerprint, sizes),
        "#### Choices",
        _table(("what", "chosen"), [*choices.items(), *(facts or {}).items()]),
        "#### Make it again",
        _code(repeat),
        *_use(predict, model_uri),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _what(choices: Mapping[str, str], data_name: str) -> str:
    parts = [choices[kind] for kind in ("model", "optimizer") if choices.get(kind)]
    return f"{' + '.join(parts) or 'a model'} on {data_name}"


def _headline(metrics: Mapping[str, float]) -> str:
    """The test result in words: MLflow shows little more than the first line before "Show more"."""
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


def _result(metrics: Mapping[str, float], best_epoch: int, epochs: int) -> str:
    splits = _ordered({name.split("/", 1)[0] for name in metrics if "/" in name})
    if not splits:
        return "No result: the training has not ended, or ended before its first epoch."
    columns = list(dict.fromkeys(name.split("/", 1)[1] for name in metrics if "/" in name))
    rows = [
        (split, *(_number(metrics.get(f"{split}/{column}")) for column in columns))
        for split in splits
        if any(f"{split}/{column}" in metrics for column in columns)
    ]
    text = _table(("split", *columns), rows)
    if best_epoch:
        text += f"\n\nWeights of epoch {best_epoch}" + (f" of {epochs}." if epochs else ".")
    return text


def _data(name: str, source: str, fingerprint: str, sizes: Mapping[str, int]) -> str:
    counts = ", ".join(f"{sizes[split]:,} {split}" for split in _ordered(set(sizes)))
    lines = [f"- **{_cell(name)}**, from {_cell(source)}", f"- {counts}" if counts else ""]
    if fingerprint:
        lines.append(f"- fingerprint `{fingerprint[:12]}`: equal fingerprints mean equal data")
    return "\n".join(line for line in lines if line)


def _use(predict: str, model_uri: str | None) -> list[str]:
    blocks = []
    if predict:
        blocks.append(_code(predict))
    if model_uri:
        blocks.append(_code(f'import mlflow\nmlflow.pyfunc.load_model("{model_uri}").predict(raw)', "python"))
    return ["#### Predict", *blocks] if blocks else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _code(text: str, language: str = "bash") -> str:
    return f"```{language}\n{text}\n```"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"


def _ordered(splits: Iterable[str]) -> list[str]:
    return sorted(splits, key=lambda s: (SPLITS.index(s) if s in SPLITS else len(SPLITS), s))
