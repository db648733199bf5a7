"""Maps that start by handing their input on: identity and Dirac."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.errors import LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Output unit i reads input unit i times ``gain``, and nothing else; a kernel reads at its center.

    Promise:
        The ``min(out, in)`` diagonal entries of each logical matrix equal ``gain``, all others 0. With ``p`` the share
        of diagonal entries, the entries' standard deviation is ``abs(gain) * sqrt(p * (1 - p))``.

    Fails when:
        The map widens: units beyond the input's start at zero, and all alike.

    Args:
        gain: The diagonal entries, finite. Default 1.0: the input itself.

    Raises:
        InvalidValueError: ``gain`` is not finite.
        LayoutError: On ``sample``: the tensor is a vector.

    Example:
        >>> Identity().sample(Layout.linear(2, 3), Key(0, "w"))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_finite("Identity", "gain", self.gain, 1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        matrices = layout.matrices(torch.zeros(layout.shape, dtype=torch.float32, device="cpu"))
        diagonal = torch.arange(min(layout.out_units, layout.in_units), device="cpu")
        matrices[:, diagonal, diagonal, layout.center] = self.gain
        return layout.assemble(matrices)

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``abs(gain) * sqrt(p * (1 - p))``."""
        layout.require_matrix("diagonal")
        share = layout.num_matrices * min(layout.out_units, layout.in_units) / layout.numel
        return abs(self.gain) * math.sqrt(share * (1.0 - share))


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedIdentity:
    """The identity again and again along the longer side, so that no row and no column is zero.

    Rule:
        Each logical matrix is seen as one of ``out`` rows and ``in * receptive_field`` columns, kernel positions of one
        channel side by side. With ``n`` the smaller number of the two, entry ``(i, j)`` is ``gain`` where ``i`` and
        ``j`` agree modulo ``n``, else 0.

    Promise:
        A square map hands its input on, times ``gain``; one that widens repeats it; one that narrows, or has a kernel,
        sums ``columns / out`` inputs for each output, and no two outputs share one. With ``p = 1 / n`` the entries'
        standard deviation is ``abs(gain) * sqrt(p * (1 - p))``.

    Fails when:
        The map widens: units that read the same start alike, and only noise on top tells them apart. It sums many
        inputs, and no norm follows: of white inputs, the mean square grows by their number.

    Args:
        gain: The entries that are not zero, finite. Default 1.0: the input itself.

    Raises:
        InvalidValueError: ``gain`` is not finite.
        LayoutError: On ``sample``: the tensor is a vector.

    Example:
        >>> RepeatedIdentity().sample(Layout.linear(3, 2), Key(0, "w"))
        tensor([[1., 0.],
                [0., 1.],
                [1., 0.]])

    References:
        Pan, Wang, Wu, Wang, Zhang, Xu (2025), IDInit: A Universal and Stable Initialization Method for Neural Network
        Training, figure 3.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_finite("RepeatedIdentity", "gain", self.gain, 1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        layout.require_matrix("identity")
        rows, columns = (torch.arange(size, device="cpu") for size in self._sides(layout))
        agree = rows[:, None] % self._smaller(layout) == columns % self._smaller(layout)
        matrix = agree.to(torch.float32) * self.gain
        whole = matrix.expand(layout.num_matrices, *matrix.shape)
        return layout.assemble(whole.unflatten(2, (layout.in_units, layout.receptive_field)))

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``abs(gain) * sqrt(p * (1 - p))``."""
        layout.require_matrix("identity")
        share = 1.0 / self._smaller(layout)
        return abs(self.gain) * math.sqrt(share * (1.0 - share))

    def _sides(self, layout: Layout) -> tuple[int, int]:
        return layout.out_units, layout.in_units * layout.receptive_field

    def _smaller(self, layout: Layout) -> int:
        return min(self._sides(layout))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dirac:
    """``Identity`` for convolutions only: each group hands its channels on, at the center of the kernel.

    Promise:
        As ``Identity``; with stride 1, padding ``size // 2`` and odd kernels, the output equals the input times
        ``gain`` where channels match.

    Fails when:
        The convolution widens: channels beyond the input's start at zero, and all alike.

    Args:
        gain: The non-zero entries, finite. Default 1.0: the input itself.

    Raises:
        InvalidValueError: ``gain`` is not finite.
        LayoutError: On ``sample``: the tensor has no kernel.

    Example:
        >>> Dirac().sample(Layout.conv(1, 1, (3,)), Key(0, "w"))
        tensor([[[0., 1., 0.]]])

    Differs:
        ``torch.nn.init.dirac_`` takes the number of groups; here the layout knows it. There is no gain there.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_finite("Dirac", "gain", self.gain, 1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        _require_kernel(layout)
        return Identity(gain=self.gain).sample(layout, key)

    def expected_std(self, layout: Layout) -> float:
        """The promise: that of ``Identity``."""
        _require_kernel(layout)
        return Identity(gain=self.gain).expected_std(layout)


def _require_kernel(layout: Layout) -> None:
    if not layout.kernel_dims:
        raise LayoutError(
            f"Dirac needs a kernel, and a {layout.kind} layout of shape {layout.shape} has none.",
            fix="Identity() for maps without a kernel",
        )
