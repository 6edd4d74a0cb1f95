"""expkit: a plugin-based deep-learning experiment framework on PaddlePaddle."""

__version__ = "0.1.0"
