"""A sweep whose next run is chosen by what the runs before it came to: Optuna's studies as a source of jobs."""
