"""`python -m expkit verify-resume +experiment=X`: kills a run, resumes it, and compares it with one that was not."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from expkit.cli.composed import with_experiment
from expkit.cli.reproduce import step_count

if TYPE_CHECKING:
    from expkit.config import ExperimentConfig

_DESCRIPTION = """\
Find out whether an experiment resumes exactly. In processes of their own, a short run trains without a break, and
another one is killed (SIGKILL) and resumed. Then weights, optimizer, schedule, callbacks, random state, the loss of
each step and the metrics of each epoch are compared, bit by bit, and the points in MLflow: none may be missing, none
twice.
"""
_EPILOG = """\
Overrides are those of a run; trainer.epochs, trainer.limit_train_batches and checkpoint.every_steps are chosen so that
it takes seconds, unless you set them. Both runs are tracked as configured, in the experiment NAME-verify-resume, and
the verdict is their tag expkit.verified_resume; their folders are kept only where they differ.

exit code: 0 identical, 1 differs, 2 a mistake

examples:
  python -m expkit verify-resume +experiment=mnist_cnn
  python -m expkit verify-resume +experiment=mnist_cnn optimizer=lamb dataset.loading=workers --steps 100 --kill-at 77
"""


def main(arguments: list[str]) -> int:
    """Verify an experiment, which is composed as a run would be.

    Args:
        arguments: behind the verb.

    Returns:
        0 where the resumed run is identical, 1 where it differs.

    Raises:
        ExpkitError: the experiment cannot be composed or trained.
    """
    parser = argparse.ArgumentParser(
        prog="python -m expkit verify-resume",
        usage="python -m expkit verify-resume [--steps N] [--kill-at K] OVERRIDE ...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--steps", type=step_count, metavar="N", help="train so many steps (default: 60 or so)")
    parser.add_argument(
        "--kill-at", type=step_count, metavar="K", help="kill after this step (default: where much is lost)"
    )
    options, overrides = parser.parse_known_args(arguments)
    if not overrides:
        parser.error("name an experiment, as for a run: verify-resume +experiment=mnist_cnn")

    def act(config: ExperimentConfig) -> int:
        from expkit.verification.conduct import verify

        return verify(config, steps=options.steps, kill_at=options.kill_at)

    return with_experiment("verify-resume", overrides, act)
