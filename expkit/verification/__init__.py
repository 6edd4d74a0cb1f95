"""Whether a run that is killed and resumed is the run that was not, bit by bit: what `verify-resume` does."""
