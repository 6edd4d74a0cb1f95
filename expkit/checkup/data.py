"""What is odd about the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from expkit.api import Data, DataSpec, TableInput
from expkit.checkup.survey import Survey, survey
from expkit.findings import Finding, Section
from expkit.preparation import Prepared

SECONDS = 3.0
"""For each split."""
FAR_APART = 0.2
"""Share of samples that would have to change their class to make two splits alike."""


def data_section(prepared: Prepared) -> Section:
    """Go through all splits once.

    Args:
        prepared: the experiment.
    """
    data = prepared.data
    splits = {"train": data.train, "valid": data.valid, "test": data.test}
    surveys = {name: survey(split, data.spec, SECONDS) for name, split in splits.items()}
    findings = [
        *_source(data.spec),
        *_numbers(data.spec, surveys),
        *(_classes(data.spec, surveys) if data.spec.is_classification else _values(data.spec, surveys)),
        *_overlaps(surveys),
        _first_batch(prepared),
    ]
    return Section("data", _table(data, surveys), findings)


def _table(data: Data, surveys: Mapping[str, Survey]) -> str:
    spec = data.spec
    raw, _ = data.train.gather(np.arange(1))
    kind = "classes" if spec.is_classification else "targets, normalised"
    lines = [
        f"{spec.name}  ({spec.source.kind}: {spec.source.location})",
        f"a sample: {list(raw.shape[1:])} {raw.dtype}, normalised to {list(spec.input_shape)} {spec.input_dtype}",
        f"{'split':<7}{'samples':>9}{'mean':>10}{'std':>10}{'min':>10}{'max':>10}   {kind}",
    ]
    for name, found in surveys.items():
        numbers = "".join(f"{_short(n):>10}" for n in (found.mean, found.std, found.low, found.high))
        partly = f"   (of {found.seen:,} samples)" if found.seen < found.size else ""
        lines.append(f"{name:<7}{found.size:>9,}{numbers}   {_targets(spec, found)}{partly}")
    return "\n".join(lines)


def _targets(spec: DataSpec, found: Survey) -> str:
    if spec.is_classification:
        rarest, commonest = int(found.classes.argmin()), int(found.classes.argmax())
        rare, common = (f"{found.classes[c]:,} of {spec.labels[c]!r}" for c in (rarest, commonest))
        return f"{rare} to {common}"
    spreads = [f"{_short(m)} ± {_short(s)}" for m, s in zip(found.target_mean[:3], found.target_std[:3], strict=True)]
    return ", ".join(spreads) + (", ..." if len(found.target_mean) > 3 else "")


def _short(number: float) -> str:
    """Three digits, and 0 for what rounding has left of it."""
    return f"{number:.3g}" if abs(number) >= 1e-5 else "0"


def _source(spec: DataSpec) -> Iterator[Finding]:
    if spec.source.stand_in_for:
        yield Finding(
            "warning",
            "source",
            f"this is a stand-in, not {spec.source.stand_in_for}: {spec.source.note or 'no files were found'}",
            "Give the folder of the genuine files with dataset.root=FOLDER or EXPKIT_DATA_DIR.",
        )


def _numbers(spec: DataSpec, surveys: Mapping[str, Survey]) -> Iterator[Finding]:
    bad = {name: found.not_finite for name, found in surveys.items() if found.not_finite}
    if bad:
        where = ", ".join(f"{count:,} in {name}" for name, count in bad.items())
        yield Finding("FAIL", "numbers", f"inputs or targets are NaN or infinite: {where}", "Remove or repair them.")
    train = surveys["train"]
    wide = max(abs(train.low), abs(train.high)) > 100 or train.std > 10
    if wide or train.std < 0.01 or abs(train.mean) > 10 * max(train.std, 0.01):
        yield Finding(
            "warning",
            "range",
            f"inputs are {_short(train.mean)} ± {_short(train.std)}, from {train.low:.3g} to {train.high:.3g}",
            "Models learn best from inputs around 0 with a standard deviation near 1: see the dataset's options for "
            "normalising.",
        )
    elif not bad:
        yield Finding(
            "ok", "range", f"inputs are finite, {_short(train.mean)} ± {_short(train.std)} after normalisation"
        )
    if train.constant and isinstance(spec.input, TableInput):
        names = ", ".join(spec.input.columns[index] for index in train.constant[:5])
        more = f" and {len(train.constant) - 5} more" if len(train.constant) > 5 else ""
        yield Finding("warning", "columns", f"the same in every training sample: {names}{more}", "Leave them out.")


def _classes(spec: DataSpec, surveys: Mapping[str, Survey]) -> Iterator[Finding]:
    train = surveys["train"]
    missing = [label for label, count in zip(spec.labels, train.classes, strict=True) if count == 0]
    shares = {name: found.classes / max(found.seen, 1) for name, found in surveys.items()}
    commonest = int(train.classes.argmax())
    always = f"always answering {spec.labels[commonest]!r} is right in {shares['train'][commonest]:.1%}"
    if missing:
        some = ", ".join(map(repr, missing[:5])) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        yield Finding("warning", "classes", f"no training sample is of class {some}", "No model can learn these.")
    elif train.classes.max() > 10 * train.classes.min():
        times = train.classes.max() / train.classes.min()
        text = f"the commonest class is {times:.0f} times as frequent as the rarest; {always}"
        yield Finding("warning", "classes", text, "Accuracy says little here; add metrics=[f1] or the like.")
    else:
        yield Finding("ok", "classes", f"all {spec.outputs} are there; {always}")
    for name in ("valid", "test"):
        apart = float(np.abs(shares[name] - shares["train"]).sum() / 2)
        noise = 2 * (spec.outputs / surveys[name].seen) ** 0.5  # how far a small sample may lie off by chance
        if apart > FAR_APART + noise:
            text = f"{apart:.0%} of {name} would have to change class to have the shares of train"
            yield Finding("warning", "classes", text, "Was the data sorted when it was split? Shuffle it before.")


def _values(spec: DataSpec, surveys: Mapping[str, Survey]) -> Iterator[Finding]:
    train = surveys["train"]
    if not train.target_std.min() > 0:
        yield Finding(
            "FAIL", "targets", "the targets are the same in every training sample", "There is nothing to learn."
        )
        return
    if max(abs(train.target_mean).max(), train.target_std.max()) > 20:
        yield Finding(
            "warning",
            "targets",
            f"targets are {_targets(spec, train)}",
            "Large targets need large weights, hence many steps: see the dataset's options for normalising.",
        )
    else:
        yield Finding("ok", "targets", f"targets of train are {_targets(spec, train)}")
    for name in ("valid", "test"):
        apart = float((abs(surveys[name].target_mean - train.target_mean) / train.target_std).max())
        if apart > FAR_APART + 3 / surveys[name].seen ** 0.5:
            text = f"the mean of {name} lies {apart:.2g} standard deviations off that of train"
            yield Finding("warning", "targets", text, "Was the data sorted when it was split? Shuffle it before.")


def _overlaps(surveys: Mapping[str, Survey]) -> Iterator[Finding]:
    clean = True
    for name, others in (("valid", ("train",)), ("test", ("train", "valid"))):
        for other in others:
            both = len(surveys[name].hashes & surveys[other].hashes)
            if not both:
                continue
            clean = False
            if both == len(surveys[name].hashes) == len(surveys[other].hashes):
                text = f"{name} and {other} are the same samples: what is measured there says nothing of others"
                yield Finding("note", "overlap", text)
                continue
            text = f"{both:,} of {surveys[name].size:,} samples of {name} are in {other} too"
            yield Finding("warning", "overlap", text, f"They make {name} look better than it is; remove them.")
    if clean:
        seen = "" if all(s.seen == s.size for s in surveys.values()) else " among those that were looked at"
        yield Finding("ok", "overlap", f"no sample is in two splits{seen}")


def _first_batch(prepared: Prepared) -> Finding:
    batches = prepared.batches["train"]
    stream = iter(batches.epoch(1))
    try:
        inputs, targets = next(stream)
    finally:
        stream.close()
    names = [type(transform).__name__ for transform in batches.transforms]
    how = f", augmented by {', '.join(names)}" if names else ""
    text = f"{list(inputs.shape)} {inputs.dtype} and {list(targets.shape)} {targets.dtype}{how}"
    if not np.isfinite(inputs).all():
        return Finding(
            "FAIL", "batch", f"{text}: NaN or infinite", "One of the transforms makes numbers that are none."
        )
    return Finding("ok", "batch", text)
