"""`python -m expkit.cli.rerun PLAN`: the part of `reproduce --code recorded` that runs the code of then."""

from __future__ import annotations

import sys
from pathlib import Path

from expkit.cli.report import report
from expkit.reproduction.plan import Plan, perform


def main(arguments: list[str]) -> int:
    """Do a run again.

    Args:
        arguments: the file with the plan.

    Returns:
        The exit code.
    """
    try:
        perform(Plan.from_json(Path(arguments[0]).read_text(encoding="utf-8")))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - every error ends here
        return report(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
