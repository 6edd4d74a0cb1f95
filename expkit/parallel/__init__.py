"""Training of one run on several devices of this machine: `trainer.devices`.

The process that the user started is rank 0. It keeps the loop, the screen, the record and the checkpoints, and leads
processes for the other devices (`expkit.parallel.rank`), which do what they are told through a pipe: build the same
learner, take a state, make a step. Only gradients go through `paddle.distributed`. The reasons are in
docs/design/0015-data-parallel.md.
"""

from expkit.parallel.lead import lead, started

__all__ = ["lead", "started"]
