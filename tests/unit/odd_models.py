"""Models that cannot learn, or not well, for `model._target_=odd_models.NAME`."""

import numpy as np
import paddle
from paddle import nn


class Net(nn.Layer):
    """Two layers; those below spoil something."""

    def __init__(self, spec):
        super().__init__()
        self.first = nn.Linear(int(np.prod(spec.input_shape)), 32)
        self.relu = nn.ReLU()
        self.head = nn.Linear(32, spec.outputs)

    def forward(self, x):
        return self.head(self.relu(self.first(x.flatten(1))))


class Zeros(Net):
    """All weights begin as 0."""

    def __init__(self, spec):
        super().__init__(spec)
        for parameter in self.parameters():
            parameter.set_value(paddle.zeros_like(parameter))


class Dead(Net):
    """No unit ever wakes."""

    def __init__(self, spec):
        super().__init__(spec)
        self.first.bias.set_value(np.full(32, -1e4, np.float32))


class Wide(Net):
    """Far too large initial weights."""

    def __init__(self, spec):
        super().__init__(spec)
        self.head.weight.set_value(self.head.weight * 50)


class NoLogarithm(Net):
    """Takes the logarithm of negative numbers."""

    def forward(self, x):
        return self.head(self.first(x.flatten(1)).log())


class Unseeded(Net):
    """Draws its weights from a generator of its own."""

    def __init__(self, spec):
        super().__init__(spec)
        self.head.weight.set_value(np.random.default_rng().normal(size=(32, spec.outputs)).astype(np.float32))


class Moody(Net):
    """Draws random numbers in evaluation too."""

    def forward(self, x):
        return super().forward(x) * np.random.default_rng().uniform(0.5, 1)


class Cut(Net):
    """Passes over one layer, and lets no gradient through another."""

    def __init__(self, spec):
        super().__init__(spec)
        self.idle = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.relu(self.first(x.flatten(1))).detach())
