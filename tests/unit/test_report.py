"""What a user is told to do next."""

from __future__ import annotations

from expkit.config import compose
from expkit.report import next_commands


def test_a_next_command_has_the_last_override_of_each_key() -> None:
    typed = ["+experiment=housing_numpy_gd", "trainer.epochs=3", "seed=7", "trainer.epochs=40", "++trainer.epochs=50"]
    config = compose([*typed, "tracking=none"])
    commands = dict(next_commands(config, "runs/x", tracked=False, exported=False))
    assert commands == {
        "see how much is chance": "python -m expkit -m +experiment=housing_numpy_gd ++trainer.epochs=50 "
        "tracking=none seed=0,1,2"
    }
