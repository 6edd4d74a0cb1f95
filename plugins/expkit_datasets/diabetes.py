"""The diabetes table that comes with scikit-learn: the stand-in for housing.

Source: Efron, Hastie, Johnstone, Tibshirani 2004, "Least angle regression", sec. 1.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from expkit.api import Array

LOCATION = "scikit-learn load_diabetes"
COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
TARGET = "progression"
UNIT = "points, one year after baseline"


def rows() -> Array:
    """Return 442 patients as [442, 11] float64: ten raw measurements, and the progression of the disease.

    They are read from scikit-learn's own files, as `digits.eight_by_eight` does and for its reason.
    """
    found = importlib.util.find_spec("sklearn")
    folder = Path(found.origin).parent / "datasets/data" if found and found.origin else Path()
    inputs, targets = folder / "diabetes_data_raw.csv.gz", folder / "diabetes_target.csv.gz"
    if inputs.is_file() and targets.is_file():
        return np.column_stack([np.loadtxt(inputs), np.loadtxt(targets)])
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    return np.column_stack([bunch.data, bunch.target])
