from __future__ import annotations

from typing import Any

from expkit.model_card import describe_run


def card(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "experiment": "mnist_cnn",
        "choices": {"model": "cnn", "optimizer": "adam"},
        "data_name": "mnist",
        "data_source": "download: https://example.org/mnist",
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
        "model_uri": "models:/m-1",
    }
    return describe_run(**{**arguments, **changes})


def test_first_line_says_what_and_how_good() -> None:
    assert card().splitlines()[0] == "### mnist_cnn: cnn + adam on mnist: test accuracy 0.98934"


def test_result_is_a_table_with_one_row_a_split_in_order() -> None:
    text = card()
    rows = [line for line in text.splitlines() if line.startswith(("| split", "| train", "| valid", "| test"))]
    assert rows == [
        "| split | loss | accuracy |",
        "| train | 0.012346 | 0.9967 |",
        "| valid | 0.04 | 0.99 |",
        "| test | 0.035 | 0.98934 |",
    ]
    assert "Weights of epoch 4 of 5." in text


def test_data_is_named_with_source_sizes_and_fingerprint() -> None:
    text = card()
    assert "**mnist**, from download: https://example.org/mnist" in text
    assert "50,000 train, 10,000 valid, 10,000 test" in text
    assert "`0123456789ab`" in text
    assert "NOT" not in text


def test_stand_in_is_shouted_before_any_number() -> None:
    text = card(data_name="digits (stand-in for mnist)", stand_in_for="mnist")
    assert "**NOT MNIST.**" in text
    assert text.index("NOT MNIST") < text.index("#### Result")
    assert "on digits (stand-in for mnist)" in text.splitlines()[0]


def test_says_how_to_repeat_and_to_predict() -> None:
    text = card()
    assert "```bash\npython -m expkit +experiment=mnist_cnn seed=1\n```" in text
    assert "```bash\npython -m expkit predict 20261123-ab12cd digit.png\n```" in text
    assert 'mlflow.pyfunc.load_model("models:/m-1").predict(raw)' in text


def test_without_a_model_nothing_is_promised() -> None:
    assert "Predict" not in card(predict="", model_uri=None)


def test_before_training_there_is_no_empty_table() -> None:
    text = card(metrics={}, best_epoch=0)
    assert "No result" in text
    assert "| split" not in text
    assert text.splitlines()[0] == "### mnist_cnn: cnn + adam on mnist"


def test_a_split_that_lacks_a_metric_leaves_its_cell_empty() -> None:
    assert "| test | 0.035 |  |" in card(metrics={"valid/loss": 0.04, "valid/accuracy": 0.99, "test/loss": 0.035})


def test_pipes_and_newlines_cannot_break_the_tables() -> None:
    text = card(choices={"model": "a|b\nc"})
    assert "| model | a\\|b c |" in text
