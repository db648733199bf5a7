"""What the lab's networks compute, for many runs at once: layers with an explicit forward and backward pass.

Matrix products and the commonest activations write into buffers that live as long as the stack, which is what makes
a step cheap; everything else (norms, dropout, other activations, convolutions) asks autograd for its local gradient.

Shape legend: R runs, B samples, I inputs of a map, O outputs, U units.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.lab.memory import Buffers, aligned, aligned_empty
from exnihilo.lab.networks import maps
from exnihilo.lab.products import affine, input_gradient, weight_gradient
from exnihilo.lab.records import Network
from exnihilo.schemes.activations import activation_named

# As torch.nn.BatchNorm1d and torch.nn.LayerNorm.
NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1

# PyTorch computes elementwise functions on blocks of up to this many float32 values, and what is left over by another
# formula with other rounding.
VECTOR = 32

Statistics = dict[str, tuple[Tensor, Tensor]]
Views = Mapping[str, Tensor]


@dataclass(kw_only=True)
class Pass:
    """What one forward pass needs beside the parameters, and what it leaves behind.

    Args:
        training: A backward pass follows; batch statistics and dropout are on.
        statistics: Running mean and variance of each batch norm; updated by a training pass.
        masks: Gives the dropout mask of a hidden layer, ``(layer, shape) -> Tensor`` of zeros and ones.
        trace: Where set: receives pre-activation and activation of each hidden layer.
    """

    training: bool = False
    statistics: Statistics = field(default_factory=dict)
    masks: Callable[[int, tuple[int, ...]], Tensor] | None = None
    trace: list[tuple[Tensor, Tensor]] | None = None


class Layer(Protocol):
    """A part of a network: ``backward`` follows a training ``forward`` and writes its parameters' gradients."""

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """Outputs of every run."""
        ...

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """The loss's gradient by the inputs (the argument itself where ``to_input`` is not set)."""
        ...


def build(network: Network, tensors: Views, gradients: Views) -> "Sequence":
    """The network over views ``[R, *shape]`` of its parameters and their gradients."""

    def linear(name: str) -> Layer:
        normalized = f"{name}.magnitude" in tensors
        return (NormalizedAffine if normalized else Affine)(name, tensors, gradients)

    names = maps(network)
    hidden: list[Layer] = []
    if network.residual:
        for index in range(network.depth):
            inner, outer = names[2 * index + 1], names[2 * index + 2]
            pointwise = Pointwise(network, inner, index, tensors, gradients)
            branch = Sequence([linear(inner), pointwise, linear(outer)])
            hidden.append(Residual(branch, f"{outer}.gate", tensors, gradients))
        return Sequence([linear(names[0]), *hidden, linear(names[-1])])
    for index, name in enumerate(names[:-1]):
        pointwise = Pointwise(network, name, index, tensors, gradients)
        if network.kind == "cnn":
            hidden += [Convolution(name, min(index, 1) + 1, tensors, gradients), Positions(pointwise)]
        else:
            hidden += [linear(name), pointwise]
    if network.kind == "cnn":
        hidden.append(Pool())
    return Sequence([*hidden, linear(names[-1])])


class Sequence:
    """Layers one after the other."""

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """Outputs of the last layer."""
        for layer in self._layers:
            x = layer.forward(x, at)
        return x

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """Gradient by the first layer's inputs."""
        for layer in reversed(self._layers):
            gradient = layer.backward(gradient, to_input=to_input or layer is not self._layers[0])
        return gradient


class Affine:
    """A linear map with a bias."""

    def __init__(self, name: str, tensors: Views, gradients: Views) -> None:
        self._weight, self._bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        self._weight_gradient, self._bias_gradient = gradients[f"{name}.weight"], gradients[f"{name}.bias"]
        self._buffers = Buffers()
        self._x = self._weight

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """``x @ weight.T + bias``."""
        x = aligned(x)
        shape = (*x.shape[:2], self._weight.shape[1])
        out_RBO = self._buffers.take("out", *shape) if at.training else aligned_empty(*shape)
        self._x = x
        return affine(x, self._weight, self._bias, out_RBO)

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """The products of autograd's own linear backward."""
        gradient = aligned(gradient)
        weight_gradient(gradient, self._x, self._weight_gradient)
        torch.sum(gradient, 1, out=self._bias_gradient)
        if not to_input:
            return gradient
        return input_gradient(gradient, self._weight, self._buffers.take("in", *self._x.shape))


class NormalizedAffine(Affine):
    """A linear map under weight normalization: the weight is made of direction and magnitude before each pass."""

    def __init__(self, name: str, tensors: Views, gradients: Views) -> None:
        super().__init__(name, tensors, gradients)
        self._leaves = [tensors[f"{name}.{part}"].detach().requires_grad_() for part in ("weight", "magnitude")]
        self._sinks = [gradients[f"{name}.{part}"] for part in ("weight", "magnitude")]
        self._made = self._weight
        self._weight, self._weight_gradient = (aligned_empty(*self._weight.shape) for _ in range(2))

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """The map with the normalized weight."""
        with torch.enable_grad():
            self._made = normalized_weight(*self._leaves)
        self._weight.copy_(self._made.detach())
        return super().forward(x, at)

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """Through the map, then through the normalization."""
        out = super().backward(gradient, to_input=to_input)
        _differentiate(self._made, self._leaves, self._weight_gradient, self._sinks)
        return out


def normalized_weight(direction_ROI: Tensor, magnitude_RO: Tensor) -> Tensor:
    """Rows of norm ``magnitude`` (Salimans and Kingma, 2016, equation 2); a row of zeros is 0/0, NaN, as in PyTorch."""
    return direction_ROI * (magnitude_RO / torch.linalg.vector_norm(direction_ROI, dim=2)).unsqueeze(2)


class Pointwise:
    """Norm, activation and dropout of one hidden layer.

    An activation with kernels writes over what the maps beside it wrote for it alone: its pre-activations in the
    forward pass (unless they are traced), the gradient in the backward pass.
    """

    def __init__(self, network: Network, name: str, index: int, tensors: Views, gradients: Views) -> None:
        self._network, self._name, self._index = network, name, index
        names = [f"{name}.norm.{part}" for part in ("weight", "bias") if f"{name}.norm.weight" in tensors]
        self._leaves = [tensors[n].detach().requires_grad_() for n in names]
        self._sinks = [gradients[n] for n in names]
        self._activation = activation_named(network.activation).function
        self._is_rounded = network.activation not in _EXACT
        self._is_plain = network.norm in ("none", "weight") and not network.dropout
        self._kernels: tuple[Kernel, BackwardKernel] | None = None
        self._z = self._h = torch.empty(0)

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """Hidden activations; ``x`` holds the pre-activations ``[R, samples, U]``."""
        usable = self._is_plain and not self._is_ragged(x)
        self._kernels = _KERNELS.get(self._network.activation) if usable else None
        if self._kernels is not None:
            h = self._kernels[0](x, x if at.trace is None else torch.empty_like(x))
            if at.trace is not None:
                at.trace.append((x, h))
        else:
            with torch.set_grad_enabled(at.training):
                self._z = x.detach().requires_grad_(at.training)
                h = self._compute(self._z, at)
        self._h = h
        return h.detach()

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """The activation's own kernel where it has one here, else autograd."""
        del to_input  # the local gradient is needed for the layer below in every case
        if self._kernels is not None:
            return self._kernels[1](gradient, self._h)
        return _differentiate(self._h, [self._z, *self._leaves], gradient, [None, *self._sinks])

    def _compute(self, z: Tensor, at: Pass) -> Tensor:
        if self._network.norm == "batch":
            z = self._batch_norm(z, at)
        elif self._network.norm == "layer":
            mean, variance = z.mean(2, keepdim=True), z.var(2, correction=0, keepdim=True)
            z = self._scale_and_shift((z - mean) / torch.sqrt(variance + NORM_EPS))
        h = torch.stack([self._activation(run) for run in z]) if self._is_ragged(z) else self._activation(z)
        if at.trace is not None:
            at.trace.append((z.detach(), h.detach()))
        if at.training and at.masks is not None:
            h = h * at.masks(self._index, tuple(h.shape)) / (1.0 - self._network.dropout)
        return h

    def _is_ragged(self, z: Tensor) -> bool:
        """Whether the end of a run's values would be computed by another formula than if the run were alone."""
        return self._is_rounded and z[0].numel() % VECTOR != 0

    def _batch_norm(self, z: Tensor, at: Pass) -> Tensor:
        if at.training:
            mean, variance = z.mean(1), z.var(1, correction=0)
            with torch.no_grad():
                unbiased = variance * (z.shape[1] / (z.shape[1] - 1))
                old_mean, old_variance = self._running(z, at)
                at.statistics[self._name] = (
                    old_mean.lerp(mean, BATCH_NORM_MOMENTUM),
                    old_variance.lerp(unbiased, BATCH_NORM_MOMENTUM),
                )
        else:
            mean, variance = self._running(z, at)
        return self._scale_and_shift((z - mean.unsqueeze(1)) / torch.sqrt(variance.unsqueeze(1) + NORM_EPS))

    def _running(self, z: Tensor, at: Pass) -> tuple[Tensor, Tensor]:
        return at.statistics.get(self._name, (torch.zeros_like(z[:, 0]), torch.ones_like(z[:, 0])))

    def _scale_and_shift(self, z: Tensor) -> Tensor:
        scale, shift = self._leaves
        return z * scale.unsqueeze(1) + shift.unsqueeze(1)


class Residual:
    """``x + gate * branch(x)``, or without a gate where there is none."""

    def __init__(self, branch: Sequence, gate: str, tensors: Views, gradients: Views) -> None:
        self._branch = branch
        self._gate = tensors.get(gate)
        self._gate_gradient = gradients.get(gate)
        self._out = torch.empty(0)

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """The stream behind the branch."""
        out = self._branch.forward(x, at)
        if self._gate is None:
            return x + out
        self._out = out
        return x + out * self._gate.unsqueeze(1)

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """Along the branch and the skip."""
        if self._gate is None or self._gate_gradient is None:
            return gradient + self._branch.backward(gradient, to_input=to_input)
        self._gate_gradient.copy_((gradient * self._out).sum((1, 2)).unsqueeze(1))
        return gradient + self._branch.backward(gradient * self._gate.unsqueeze(1), to_input=to_input)


class Convolution:
    """A 3x3 convolution with padding 1, from square images to ``[R, B, channels, side, side]``."""

    def __init__(self, name: str, stride: int, tensors: Views, gradients: Views) -> None:
        self._leaves = [tensors[f"{name}.{part}"].detach().requires_grad_() for part in ("weight", "bias")]
        self._sinks = [gradients[f"{name}.{part}"] for part in ("weight", "bias")]
        self._stride = stride
        self._x = self._y = torch.empty(0)

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """``x`` is ``[R, B, channels, side, side]``, or a flat image ``[R, B, channels * side * side]``."""
        with torch.set_grad_enabled(at.training):
            self._x = x.detach().requires_grad_(at.training)
            weight, bias = self._leaves
            runs, channels = x.shape[0], weight.shape[2]
            side = round((self._x[0, 0].numel() / channels) ** 0.5)
            images = self._x.reshape(runs, -1, channels, side, side).transpose(0, 1).flatten(1, 2)
            y = F.conv2d(images, weight.flatten(0, 1), bias.flatten(), stride=self._stride, padding=1, groups=runs)
            self._y = y.unflatten(1, (runs, -1)).transpose(0, 1)
        return self._y.detach()

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """Autograd's own convolution backward."""
        del to_input  # the images' gradient is cheap beside the weights'
        return _differentiate(self._y, [self._x, *self._leaves], gradient, [None, *self._sinks])


class Positions:
    """A pointwise layer on the channels of images: every position of every image counts as a sample."""

    def __init__(self, inner: Pointwise) -> None:
        self._inner = inner
        self._images: tuple[int, ...] = ()

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """``[R, B, channels, side, side]`` to the same."""
        self._images = tuple(x.shape)
        return self._back(self._inner.forward(self._samples(x), at))

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """Through the pointwise layer."""
        return self._back(self._inner.backward(self._samples(gradient), to_input=to_input))

    def _samples(self, images: Tensor) -> Tensor:
        return images.movedim(2, 4).flatten(1, 3).contiguous()

    def _back(self, samples: Tensor) -> Tensor:
        runs, batch, channels, height, width = self._images
        return samples.view(runs, batch, height, width, channels).movedim(4, 2)


class Pool:
    """Mean over the positions of each channel."""

    def __init__(self) -> None:
        self._shape: tuple[int, ...] = ()

    def forward(self, x: Tensor, at: Pass) -> Tensor:
        """``[R, B, channels, side, side]`` to ``[R, B, channels]``."""
        del at
        self._shape = tuple(x.shape)
        return x.mean((3, 4))

    def backward(self, gradient: Tensor, *, to_input: bool) -> Tensor:
        """The same share to every position."""
        del to_input
        positions = self._shape[3] * self._shape[4]
        return (gradient / positions)[..., None, None].expand(self._shape)


def _differentiate(output: Tensor, inputs: list[Tensor], gradient: Tensor, sinks: Iterable[Tensor | None]) -> Tensor:
    """Gradients of ``output`` by the inputs, written where there is a sink; returns the first."""
    found = torch.autograd.grad(output, inputs, gradient)
    for sink, value in zip(sinks, found, strict=True):
        if sink is not None:
            sink.copy_(value)
    return found[0]


Kernel = Callable[[Tensor, Tensor], Tensor]
BackwardKernel = Callable[[Tensor, Tensor], Tensor]

# Activations without rounding: the same bits by any formula.
_EXACT = ("linear", "relu")

# Forward from (pre-activation, output), backward from (gradient, output) over the gradient: the kernels that autograd
# itself calls.
_KERNELS: Mapping[str, tuple[Kernel, BackwardKernel]] = {
    "linear": (lambda z, out: z, lambda gradient, h: gradient),
    "relu": (
        lambda z, out: torch.clamp_min(z, 0, out=out),
        lambda gradient, h: torch.ops.aten.threshold_backward.grad_input(gradient, h, 0, grad_input=gradient),
    ),
    "tanh": (
        lambda z, out: torch.tanh(z, out=out),
        lambda gradient, h: torch.ops.aten.tanh_backward.grad_input(gradient, h, grad_input=gradient),
    ),
    "sigmoid": (
        lambda z, out: torch.sigmoid(z, out=out),
        lambda gradient, h: torch.ops.aten.sigmoid_backward.grad_input(gradient, h, grad_input=gradient),
    ),
}
