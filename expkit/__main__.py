"""Entry point of `python -m expkit`."""

from __future__ import annotations

import sys

from expkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
