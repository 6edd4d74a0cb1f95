"""GoogLeNet without the two auxiliary outputs, which Paddle's always computes and which need 224 x 224 pixels."""

import paddle
from paddle import nn
from paddle.vision.models import GoogLeNet

AUXILIARY = ("_pool_o1", "_pool_o2", "_conv_o1", "_conv_o2", "_fc_o1", "_fc_o2", "_drop_o1", "_drop_o2")
AUXILIARY += ("_out1", "_out2")


class MainOutput(nn.Layer):
    """Runs the layers of a GoogLeNet up to its main output (Szegedy et al. 2015, table 1).

    Args:
        network: whose auxiliary layers are removed.
    """

    def __init__(self, network: GoogLeNet):
        super().__init__()
        for name in AUXILIARY:
            delattr(network, name)
        self.network = network

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Return outputs [N, K]."""
        net = self.network
        x = net._conv_2(net._conv_1(net._pool(net._conv(images))))
        x = net._pool(net._ince3b(net._ince3a(net._pool(x))))
        x = net._ince4c(net._ince4b(net._ince4a(x)))
        x = net._pool(net._ince4e(net._ince4d(x)))
        x = net._pool_5(net._ince5b(net._ince5a(x)))
        return net._fc_out(net._drop(x).flatten(1))
