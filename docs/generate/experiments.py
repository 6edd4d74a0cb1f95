"""The reference of the experiments, from what their files say of themselves."""

from __future__ import annotations

from expkit import registry
from expkit.cli.experiments import choices, experiments
from expkit.cli.show import as_override
from generate.writing import Pages, code, described, table, title


def write(pages: Pages) -> None:
    """Write the page `experiments`."""
    text = title("Experiments") + (
        "Each is one file in ``conf/experiment``. Its command runs it as it is; anything behind it changes that.\n\n"
    )
    for experiment in experiments():
        if experiment.owner == "expkit":
            text += f".. _experiment-{experiment.name}:\n\n{title(experiment.name, 2)}{described(experiment.comment)}"
            rows = [[_key(key), _value(key, value)] for key, value in choices(experiment).items()]
            text += table(["it sets", "to"], rows, [50, 50])
    pages.write("experiments.rst", text)


def _key(key: str) -> str:
    return code(key)


def _value(key: str, value: object) -> str:
    kinds = {kind.config_group: kind for kind in registry.KINDS}
    names = value if isinstance(value, list) else [value]
    kind = kinds.get(key)
    if kind is None or not all(name in registry.entries(kind) for name in names):
        return code(as_override(value))
    folder = kind.plural
    return ", ".join(f":doc:`{name} <components/{folder}/{name}>`" for name in names)
