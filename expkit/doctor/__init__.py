"""Says whether a machine and an installation are fit for runs; changes nothing, and imports nothing that may be broken.

Each check is a function of its own, imported when its turn comes: what is broken fails its own line only. Whatever is
slow or could take the process down (Paddle, plugins, data sets) happens in child processes, see `children`.
"""

from expkit.doctor.examination import Examination, examine

__all__ = ["Examination", "examine"]
