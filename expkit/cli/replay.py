"""`python -m expkit replay CAPSULE`: runs a step that made NaN or infinity again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from expkit.inspection import trouble_table
from expkit.replay import CHANGEABLE, Replay, replay


def main(arguments: list[str]) -> int:
    """Run the step of a capsule again and print what every layer makes of its batch.

    Args:
        arguments: behind the verb.

    Returns:
        1 when the step is not finite this time either, else 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit replay",
        description="Run a step that made NaN or infinity again, from state, batch and random state in its capsule, "
        "and show the range of each layer's numbers. Needs neither the data nor the rest of the run; writes nothing. "
        "The exit code is 1 when the step is not finite this time either.",
        epilog="example: python -m expkit replay runs/mnist_cnn/20261123-120000-ab12cd/capsules/step-00000123 "
        "model.activation=relu",
    )
    parser.add_argument("capsule", type=Path, help="folder of the capsule, as the run named it")
    parser.add_argument(
        "changes",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="what to try: " + ", ".join(f"{name}*" if name.endswith(".") else name for name in CHANGEABLE),
    )
    options = parser.parse_intermixed_args(arguments)
    done = replay(options.capsule, options.changes)
    sys.stdout.write(_text(done))
    return 1 if done.found else 0


def _text(done: Replay) -> str:
    then, now = done.capsule, done.diagnosis
    lines = [
        f"then    {then.found} {then.place}",
        f"        {then.diagnosis.origin.text}",
        f"now     {_now(done)}",
    ]
    if done.found:
        same = now.origin == then.diagnosis.origin
        lines.append(f"        {'from the same place' if same else now.origin.text}")
    if not then.exact:
        lines.append("note    the state is that from after the step: its learner says so only then")
    if done.too_late:
        lines.append(
            "note    the step fails before its update, on which alone this change has an effect: it would have to be "
            "there in earlier steps"
        )
    return "\n".join([*lines, "", trouble_table(now.rows), ""])


def _now(done: Replay) -> str:
    if done.found == done.capsule.found:
        return f"it happens again: {done.found}"
    if done.found:
        return f"it happens otherwise: {done.found}"
    return f"it does not happen: the loss is {done.loss:.6g}, gradients and weights are finite"
