"""What every component promises, of whatever kind: it can be imported and built."""

from __future__ import annotations

from expkit.testing.promises import promise
from expkit.testing.subject import Subject


@promise(name="loads", needs="nothing", text="It can be imported from where its entry point says it is.")
def loads(subject: Subject) -> None:
    """Import it."""
    assert subject.component is not None


@promise(
    name="builds",
    text="It can be built as the framework builds it, and refuses data that it is not made for with a ConfigError.",
)
def builds(subject: Subject) -> None:
    """Build it for each spec that it does not refuse."""
    subject.fitting()
