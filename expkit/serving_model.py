"""What answers when an exported model is loaded from MLflow: `mlflow.pyfunc.load_model(uri).predict(raw)`.

This file is never imported by expkit. MLflow copies it beside the model and runs it there, so it needs only
MLflow, NumPy, Paddle, PyYAML and the copy of `preprocess.py` in the export.
"""
# mypy: disable-error-code="import-untyped, type-arg, misc"
# pandas, PyYAML and MLflow bring no types; MLflow knows the bare np.ndarray only.

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
import pandas as pd

Inputs = np.ndarray  # bare: the one annotation for raw arrays that MLflow neither warns about nor converts


class ExportedModel(mlflow.pyfunc.PythonModel):
    """Normalises raw inputs, runs the network, decodes its outputs: the very steps of training."""

    def load_context(self, context: Any) -> None:
        """Load the export from the model's artifacts."""
        import paddle
        import yaml

        folder = Path(context.artifacts["export"])
        about = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
        preprocess = _load_module(folder / "preprocess.py")
        self._input = preprocess.from_description(about["input"])
        self._target = preprocess.from_description(about["target"])
        self._columns: list[str] = list(about["input"].get("columns", []))
        self._network = paddle.jit.load(str(folder / "model"))
        self._network.eval()

    def predict(self, context: Any, model_input: Inputs, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Answer one row for each raw input.

        Args:
            context: MLflow's; not used.
            model_input: images [N, H, W] or [N, H, W, C] uint8, or a table with named columns.
            params: MLflow's; not used.

        Returns:
            Columns "label", "probability" and one "p(...)" a class; or one column for each predicted value.
        """
        import paddle

        with paddle.no_grad():
            outputs = self._network(paddle.to_tensor(self._input.normalise(self._raw(model_input)))).numpy()
        answers = self._target.decode(outputs)
        if answers and "values" in answers[0]:
            return pd.DataFrame([answer["values"] for answer in answers])
        return pd.DataFrame(
            [
                {
                    "label": answer["label"],
                    "probability": answer["probability"],
                    **{f"p({label})": value for label, value in answer["probabilities"].items()},
                }
                for answer in answers
            ]
        )

    def _raw(self, model_input: Any) -> Any:
        if not isinstance(model_input, pd.DataFrame):
            return np.asarray(model_input)
        return (model_input[self._columns] if self._columns else model_input).to_numpy()


def _load_module(path: Path) -> ModuleType:
    """Import a file under a name made from its content: two models may bring two versions of it."""
    name = "expkit_preprocess_" + hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


mlflow.models.set_model(ExportedModel())
