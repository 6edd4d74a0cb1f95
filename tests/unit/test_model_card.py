from __future__ import annotations

import shlex
from typing import Any

from expkit.model_card import describe_run


def card(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "experiment": "mnist_cnn",
        "choices": {"model": "cnn", "optimizer": "adam"},
        "data_name": "mnist",
        "data_source": ("download", "https://example.org/mnist"),
        "fingerprint": "0123456789abcdef" * 4,
        "sizes": {"test": 10_000, "train": 50_000, "valid": 10_000},
        "metrics": {
            "train/loss": 0.0123456,
            "train/accuracy": 0.9967,
            "valid/loss": 0.04,
            "valid/accuracy": 0.99,
            "test/loss": 0.035,
            "test/accuracy": 0.98934,
        },
        "best_epoch": 4,
        "epochs": 5,
        "facts": {"seed": "1"},
        "repeat": "python -m expkit +experiment=mnist_cnn seed=1",
        "predict": "python -m expkit predict 20261123-ab12cd digit.png",
        "model": ("sqlite:///runs/mlflow.db", "models:/m-1", "raw: array of uint8 [N, 28, 28]"),
    }
    return describe_run(**{**arguments, **changes})


def test_first_line_says_what_and_how_good() -> None:
    assert card().splitlines()[0] == "### mnist_cnn: cnn + adam on mnist: test accuracy 0.9893"


def test_result_is_an_aligned_table_with_one_row_a_split_in_order() -> None:
    shown = (
        "```text\n        loss      accuracy\ntrain   0.01235   0.9967\nvalid   0.04      0.99\n"
        "test    0.035     0.9893\n```"
    )
    assert shown in card()
    assert "Weights of epoch 4 of 5, the best ones." in card()


def test_data_is_named_with_source_sizes_and_fingerprint() -> None:
    text = card()
    assert "**mnist**, from https://example.org/mnist (downloaded)" in text
    assert "50,000 train, 10,000 valid, 10,000 test" in text
    assert "`0123456789ab`" in text
    assert "NOT" not in text


def test_stand_in_is_shouted_before_any_number() -> None:
    text = card(data_name="digits (stand-in for mnist)", stand_in_for="mnist")
    assert "**NOT MNIST.**" in text
    assert text.index("NOT MNIST") < text.index("accuracy\n")
    assert "on digits (stand-in for mnist)" in text.splitlines()[0]


def test_says_how_to_repeat_and_to_predict() -> None:
    text = card()
    assert "```bash\npython -m expkit +experiment=mnist_cnn seed=1\n```" in text
    assert "```bash\npython -m expkit predict 20261123-ab12cd digit.png\n```" in text
    assert 'mlflow.set_tracking_uri("sqlite:///runs/mlflow.db")' in text
    assert 'mlflow.pyfunc.load_model("models:/m-1")' in text
    assert "model.predict(raw)  # raw: array of uint8 [N, 28, 28]" in text


def test_without_a_model_nothing_is_promised() -> None:
    assert "Predict" not in card(predict="", model=None)


def test_before_training_there_is_no_empty_table() -> None:
    text = card(metrics={}, best_epoch=0)
    assert "No result" in text
    assert text.splitlines()[0] == "### mnist_cnn: cnn + adam on mnist"


def test_a_run_without_a_result_says_why() -> None:
    assert "No result: stopped by SIGINT" in card(metrics={}, ended="No result: stopped by SIGINT")


def test_a_split_that_lacks_a_metric_has_a_dash() -> None:
    text = card(metrics={"valid/loss": 0.04, "valid/accuracy": 0.99, "test/loss": 0.035})
    assert "test    0.035   -" in text


def test_what_would_end_a_block_of_text_cannot() -> None:
    text = card(choices={"model": "a```b\nc", "optimizer": "adam"})
    assert "a'''b c" in text[text.index("#### Choices") :]


def test_a_long_command_is_broken_where_a_shell_lets_it() -> None:
    words = ["python", "-m", "expkit", "+experiment=mnist_cnn", *(f"option_{i}=a b {i}" for i in range(12))]
    text = card(repeat=shlex.join(words))
    block = text[text.index("python -m") : text.index("\n```", text.index("python -m"))]
    assert len(block.splitlines()) > 2
    assert max(map(len, block.splitlines())) < 90
    assert shlex.split(block.replace("\\\n", " ")) == words
