"""Doing a run again from its record, and saying whether the same came out; see docs/design/0010-reproduce.md."""
