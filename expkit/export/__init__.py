"""Exports: the best weights as models that answer outside of expkit, each believed only after a check.

An export is a folder that a stranger can use: the model, how its inputs are made and its outputs read (`model.yaml`,
`preprocess.py`), what runs it (`predict.py`), and what it was found to answer (`certificate.json`).
"""

from expkit.export.certificate import Certificate, RuntimeCheck, certificates_of
from expkit.export.formats import FORMATS
from expkit.export.writing import Exported, Exporter, facts_about

__all__ = ["FORMATS", "Certificate", "Exported", "Exporter", "RuntimeCheck", "certificates_of", "facts_about"]
