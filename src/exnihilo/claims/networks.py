"""The networks that several claims ask about: equal networks share their runs."""

from exnihilo.lab.records import Model, Network

# Deep enough for a wrong scale to compound, and small enough for a study of minutes.
DEEP_DEPTH, DEEP_WIDTH = 6, 16
# Four branches are eight maps between the stem and the head.
RESIDUAL_DEPTH = 4


def shallow(activation: str = "relu") -> Network:
    """The lab's usual network, of two hidden layers."""
    return Network(activation=activation)


def deep(activation: str = "relu") -> Network:
    """A deep and narrow network."""
    return Network(depth=DEEP_DEPTH, width=DEEP_WIDTH, activation=activation)


def gated() -> Network:
    """A residual network with a gate on each branch: it has a last map and a gate that can be zero."""
    return Network(depth=RESIDUAL_DEPTH, width=DEEP_WIDTH, residual=True, gate=True)


def short_label(network: Network | Model) -> str:
    """Depth, width and activation.

    Example:
        >>> short_label(deep("tanh"))
        '6x16 tanh'
    """
    return f"{network.depth}x{network.width} {network.activation}"
