"""The command line: `python -m expkit VERB ...`, or Hydra overrides that run an experiment."""

from __future__ import annotations

import faulthandler
import importlib
import logging
import os
import sys
from contextlib import suppress

from expkit.cli.report import BROKEN_PIPE, report
from expkit.cli.utf8 import use_utf8
from expkit.errors import ConfigError, did_you_mean
from expkit.masked_output import masked_output, open_closed
from expkit.masking import remember_overrides

__all__ = ["main", "report"]

VERBS = {
    "list": "what can be chosen: list, list models, list experiments",
    "show": "one of these: show model/cnn; or a run: show run last",
    "plugins": "who brings components, and how they are; plugins check acme",
    "new": "a plugin of your own that works: new plugin acme",
    "check": "whether data, model and loss fit: check +experiment=mnist_cnn",
    "doctor": "whether machine and installation are fit, and what to do if not",
    "resume": "go on with an interrupted run: resume last",
    "resume-sweep": "go on with a sweep, or extend it: resume-sweep last",
    "verify-resume": "is resuming exact? verify-resume +experiment=mnist_cnn",
    "replay": "a step that made NaN again: replay RUN/capsules/step-00000123",
    "reproduce": "whether a run comes out the same again: reproduce last",
    "evaluate": "measure a run's weights again: evaluate last --split test",
    "export": "a run's model for elsewhere: export last --format onnx",
    "predict": "answers of a trained model: predict RUN digit.png",
    "compare": "runs side by side: compare mnist_cnn optimizer=sgd,adam",
    "runs": "the newest runs, or those that fit: runs status=FAILED",
    "diff": "what differs between two runs: diff ab12cd 34ef56",
    "serve": "a page to try a trained model on, and a JSON API: serve last",
    "export-runs": "runs as one file, for another machine: export-runs last",
    "import-runs": "runs of another machine: import-runs FILE.zip",
    "relocate": "let the store of a copied runs folder find its files there",
    "sync": "bring into MLflow what it lacks of runs: sync last, sync all",
    "ui": "all runs in MLflow's UI, on this machine",
}
_MODULES = {verb: verb.replace("-", "_") for verb in VERBS} | {"list": "listing", "plugins": "plugin_health"}

_HELP = """\
usage: python -m expkit VERB ...          look at something
       python -m expkit OVERRIDE ...      run an experiment

verbs (`VERB -h` tells more)
{verbs}

overrides
  +experiment=mnist_cnn                   start from it   (`list experiments`)
  model=mlp optimizer=momentum            choose by name  (`list`)
  model.hidden=[64,64] trainer.epochs=3   set options     (`show model/mlp`)
  'metrics=[accuracy,mse]' seed=7         choose several; set any other key
  -m optimizer.learning_rate=0.1,0.01     sweep: one run for each value

Hydra flags, in any place
  -m, --multirun        run a sweep
  --cfg job             print the composed config instead of running it
  --info [searchpath]   say where configs come from, and what was chosen
  --config-dir DIR      look for configs in DIR too
  --hydra-help          all of Hydra's flags

other
  -h, --help            this text
  --version             of expkit
  EXPKIT_DEBUG=1        in the environment: whole tracebacks
"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program; those of the process by default.

    Returns:
        The exit code. Hydra's and argparse's own help and usage errors leave by `SystemExit`.
    """
    if argv is None:
        open_closed()
        use_utf8()
    arguments = sys.argv[1:] if argv is None else list(argv)
    if os.getcwd() not in sys.path and "" not in sys.path:  # noqa: PTH109 - a string, as sys.path holds
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - so that `expkit` finds my_models.py as `python -m expkit` does
    with suppress(AttributeError, OSError, ValueError):  # no stderr, or one that is no file
        if not faulthandler.is_enabled():
            faulthandler.enable(all_threads=False)  # native code that crashes ends all: the stack says whose it was
    remember_overrides(arguments)  # so that no message about them shows their secrets
    with masked_output():
        try:
            code = _dispatch_and_flush(arguments)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - every error ends here
            if _is_completion(arguments):  # a shell that completes words has no use for a message
                return 1
            return report(error)
    return code


def _dispatch_and_flush(arguments: list[str]) -> int:
    try:
        code = _dispatch(arguments)
    except SystemExit:
        if getattr(sys.stdout, "is_broken", False):  # rich leaves so where nobody reads
            return BROKEN_PIPE
        sys.stdout.flush()
        failure = getattr(sys.stdout, "failure", None)
        if failure is not None:  # argparse says nothing of it
            raise failure from None
        raise
    sys.stdout.flush()
    return code


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        sys.stdout.write(help_text())
        return 2
    first = arguments[0]
    if first in VERBS:
        module = importlib.import_module(f"expkit.cli.{_MODULES[first]}")
        return int(module.main(arguments[1:]))
    if _is_completion(arguments):
        _complete_verbs()
    elif any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(help_text())
        return 0
    elif "--version" in arguments:
        sys.stdout.write(f"expkit {_version()}\n")
        return 0
    elif "=" not in first and first[0] not in "+~-":
        raise _unknown_word(first)
    else:
        from expkit.cli.arguments import check

        check(arguments)
    if any(argument.startswith(("--info", "-i", "--hydra-help")) for argument in arguments):
        logging.raiseExceptions = False  # Hydra prints these by logging, which complains of `| head` itself
    from expkit.cli import run

    return run.main(arguments)


def help_text() -> str:
    """Return the help of the command line as a whole."""
    return _HELP.format(verbs="\n".join(f"  {verb:<13} {line}" for verb, line in VERBS.items()))


def _version() -> str:
    from importlib.metadata import version

    return version("expkit")


def _unknown_word(word: str) -> ConfigError:
    from expkit.cli.experiments import experiment_names

    if word in experiment_names():
        return ConfigError(f"{word!r} is an experiment. Run it: python -m expkit +experiment={word}")
    return ConfigError(
        f"there is no verb {word!r}.{did_you_mean(word, VERBS)} Verbs: {', '.join(VERBS)}. An override is "
        "written key=value. `python -m expkit --help` shows both."
    )


def _is_completion(arguments: list[str]) -> bool:
    return "--shell-completion" in arguments or "-sc" in arguments


def _complete_verbs() -> None:
    """Offer the verbs beside Hydra's own words, which follow on the same line."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) == 2:
        sys.stdout.write("".join(f"{verb} " for verb in VERBS if verb.startswith(words[1])))
