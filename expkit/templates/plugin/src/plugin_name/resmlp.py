"""A fully connected network of residual blocks."""

import math

import paddle.nn.functional as F  # noqa: N812 - the name that all Paddle code uses
from expkit.api import ConfigError, DataSpec
from paddle import Tensor, nn


class ResidualMLP(nn.Layer):
    """A fully connected network of residual blocks, for tables and small images (Gorishniy et al. 2021, sec. 3.2).

    A block is x + dropout(W2 relu(W1 norm(x))), with layer norm in the place of the paper's batch norm.

    Args:
        spec: supplied; inputs of any shape, K outputs.
        width: units between blocks.
        blocks: number of them; 0 makes two linear layers.
        dropout: share of what a block adds that a training step leaves out, from 0 to below 1.

    Raises:
        ConfigError: an option is out of range.
    """

    def __init__(self, spec: DataSpec, *, width: int = 64, blocks: int = 2, dropout: float = 0.0):
        super().__init__()
        if width < 1:
            raise ConfigError(f"model.width={width}: must be at least 1.")
        if blocks < 0:
            raise ConfigError(f"model.blocks={blocks}: must be 0 or above.")
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"model.dropout={dropout}: must be from 0 to below 1.")
        self.first = nn.Linear(math.prod(spec.input_shape), width)
        self.blocks = nn.LayerList([Block(width, dropout) for _ in range(blocks)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, spec.outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs [N, K] for inputs [N, *shape]."""
        hidden = self.first(inputs.flatten(1))
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(F.relu(self.norm(hidden)))


class Block(nn.Layer):
    """One residual block, [N, width] to [N, width]."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        """Add what the block has found to its inputs."""
        return inputs + self.dropout(self.down(F.relu(self.up(self.norm(inputs)))))
