"""`python -m expkit.cli.trial`: a run of `verify-resume`, which reads what to do from its standard input."""

from __future__ import annotations

import sys

from expkit.cli.report import report
from expkit.verification.trial import Trial, perform


def main() -> int:
    """Do a run, or go on with one.

    Returns:
        The exit code.
    """
    try:
        perform(Trial.from_json(sys.stdin.read()))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - every error ends here
        return report(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
