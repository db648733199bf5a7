"""Networks for images: what a shortcut does, what stands behind the last map, and what is put together otherwise."""

import torch
import torch.nn.functional as F
from specimen import floats, residual, specimen
from torch import Tensor, nn

C = 8
IMAGE = floats(2, C, 8, 8)


def conv(in_: int, out: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_, out, size, stride, size // 2, groups=groups, bias=False)


@specimen(
    "ResNet basic block with identity",
    IMAGE,
    residual("bn2.weight", norm="inner", biases="bn2.bias", maps="conv2.weight", ends_in=None),
    roles={"conv2.weight": "RESIDUAL_OUT", "bn1.weight": "NORM_SCALE", "bn1.bias": "NORM_SHIFT"},
    fans={"conv1.weight": (72, 72)},
    activations={"conv1.weight": "relu"},
    follows={"bn2.bias": "bn2.weight"},
)
class Basic(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.bn1, self.bn2 = conv(C, C), conv(C, C), nn.BatchNorm2d(C), nn.BatchNorm2d(C)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)), inplace=True)
        h = self.bn2(self.conv2(h))
        h += x
        return F.relu(h, inplace=True)


class Bottle(nn.Module):
    def __init__(self, in_: int, out: int, stride: int, shortcut: nn.Module):
        super().__init__()
        self.body = nn.Sequential(
            *(conv(in_, 4, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            *(conv(4, 4, 3, stride), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            *(conv(4, out, 1), nn.BatchNorm2d(out)),
        )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


@specimen(
    "ResNet bottlenecks: projected, average-pooled and projected, and plain shortcuts",
    floats(2, 3, 16, 16),
    residual("stages.0.body.7.weight", shortcut="projection", maps="stages.0.body.6.weight"),
    residual("stages.1.body.7.weight", shortcut="projection"),
    residual("stages.2.body.7.weight", shortcut="identity"),
    roles={"stem.weight": "STEM", "head.weight": "HEAD", "stages.0.shortcut.0.weight": "HIDDEN"},
    training=True,
)
class Bottlenecks(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = conv(3, C), nn.BatchNorm2d(C)
        self.stages = nn.Sequential(
            Bottle(C, 16, 2, nn.Sequential(conv(C, 16, 1, 2), nn.BatchNorm2d(16))),
            Bottle(16, 32, 2, nn.Sequential(nn.AvgPool2d(2), conv(16, 32, 1), nn.BatchNorm2d(32))),
            Bottle(32, 32, 1, nn.Identity()),
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn(self.stem(x))), 2)
        return self.head(self.stages(x).mean((2, 3)))


@specimen(
    "shortcut that is subsampled and padded with zeros",
    IMAGE,
    residual("bn2.weight", maps="conv2.weight"),
)
class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(C, 16, 3, 2), conv(16, 16)
        self.bn1, self.bn2 = nn.BatchNorm2d(16), nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))


@specimen(
    "pre-activation blocks, the first with a projection behind the shared norm",
    IMAGE,
    residual("a.conv2.weight", shortcut="projection"),
    residual("b.conv2.weight", norm="pre"),
    roles={"a.conv2.weight": "RESIDUAL_OUT", "head.weight": "HEAD"},
)
class PreActivation(nn.Module):
    class Block(nn.Module):
        def __init__(self, project: bool):
            super().__init__()
            self.bn1, self.bn2 = nn.BatchNorm2d(C), nn.BatchNorm2d(C)
            self.conv1, self.conv2 = conv(C, C), conv(C, C)
            self.project = conv(C, C, 1) if project else None

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.bn1(x))
            shortcut = x if self.project is None else self.project(h)
            return shortcut + self.conv2(F.relu(self.bn2(self.conv1(h))))

    def __init__(self):
        super().__init__()
        self.a, self.b, self.norm, self.head = self.Block(True), self.Block(False), nn.BatchNorm2d(C), nn.Linear(C, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.b(self.a(x)))).mean((2, 3)))


@specimen(
    "squeeze and excitation at the end of a branch",
    IMAGE,
    residual("bn.weight", biases="bn.bias", maps="body.weight"),
)
class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.bn, self.down, self.up = conv(C, C), nn.BatchNorm2d(C), nn.Conv2d(C, 2, 1), nn.Conv2d(2, C, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn(self.body(x))
        gate = torch.sigmoid(self.up(F.relu(self.down(h.mean((2, 3), keepdim=True)))))
        return F.relu(x + h * gate)


@specimen(
    "inverted residual with depthwise convolution, linear at its end",
    IMAGE,
    residual("body.7.weight", maps="body.6.weight", norm="inner"),
    fans={"body.3.weight": (9, 9), "body.0.weight": (C, 32)},
)
class Inverted(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *(conv(C, 32, 1), nn.BatchNorm2d(32), nn.ReLU6()),
            *(conv(32, 32, 3, groups=32), nn.BatchNorm2d(32), nn.ReLU6()),
            *(conv(32, C, 1), nn.BatchNorm2d(C)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


@specimen(
    "ConvNeXt block: depthwise, channels last, LayerScale",
    IMAGE,
    residual("gamma", maps="pw2.weight", scales="gamma", biases=""),
    roles={"gamma": "BRANCH_SCALE", "pw2.weight": "RESIDUAL_OUT"},
    fans={"dw.weight": (49, 49)},
    activations={"pw1.weight": "gelu"},
)
class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.dw, self.norm = nn.Conv2d(C, C, 7, padding=3, groups=C), nn.LayerNorm(C)
        self.pw1, self.pw2, self.gamma = nn.Linear(C, 32), nn.Linear(32, C), nn.Parameter(torch.full((C,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.dw(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.pw2(F.gelu(self.pw1(h)))).permute(0, 3, 1, 2)


@specimen(
    "GroupNorm, and weights standardized in the forward",
    IMAGE,
    residual("conv2.weight", biases="conv2.bias"),
    roles={"norm.weight": "NORM_SCALE"},
    fans={"conv1.weight": (72, 72)},
)
class Standardized(nn.Module):
    class Conv(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            mean = self.weight.mean((1, 2, 3), keepdim=True)
            spread = self.weight.std((1, 2, 3), keepdim=True) + 1e-5
            return F.conv2d(x, (self.weight - mean) / spread, self.bias, padding=1)

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.norm = self.Conv(C, C, 3), self.Conv(C, C, 3), nn.GroupNorm(2, C)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.norm(self.conv1(x))))


@specimen(
    "DenseNet: concatenation is no residual",
    IMAGE,
    roles={"head.weight": "HEAD"},
    activations={"a.weight": "relu"},
)
class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.bn, self.head = conv(C, 4), conv(C + 4, 4), nn.BatchNorm2d(C + 4), conv(C + 8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x, F.relu(self.a(x))], 1)
        x = torch.cat([x, self.b(F.relu(self.bn(x)))], 1)
        return self.head(x)


@specimen(
    "U-Net that concatenates, with transposed convolution",
    IMAGE,
    fans={"up.weight": (4 * 16, 4 * C)},
    roles={"last.weight": "HEAD", "first.weight": "STEM"},
)
class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.down = conv(C, C), conv(C, 16, 3, 2)
        self.up, self.last = nn.ConvTranspose2d(16, C, 2, 2), conv(2 * C, 3)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.first(x))
        return self.last(torch.cat([skip, F.relu(self.up(F.relu(self.down(skip))))], 1))


@specimen(
    "U-Net that adds: each long skip is a shortcut around all that is deeper",
    IMAGE,
    residual("mid2.weight", parent=1),
    residual("up2.weight", parent=2),
    residual("up1.weight", biases="up1.bias"),
)
class AdditiveUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.down1, self.down2 = conv(C, C), conv(C, 16, 3, 2), conv(16, 32, 3, 2)
        self.mid1, self.mid2 = conv(32, 32), conv(32, 32)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, C, 2, 2)
        self.last = conv(C, 3)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu(self.first(x))
        middle = F.relu(self.down1(fine))
        coarse = F.relu(self.down2(middle))
        coarse = coarse + self.mid2(F.relu(self.mid1(coarse)))
        middle = middle + self.up2(coarse)
        return self.last(fine + self.up1(F.relu(middle)))


@specimen(
    "feature pyramid: top-down sums are no residual",
    IMAGE,
)
class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.c3, self.c4, self.c5 = conv(C, C), conv(C, 16, 3, 2), conv(16, 32, 3, 2)
        self.l3, self.l4, self.l5 = conv(C, 4, 1), conv(16, 4, 1), conv(32, 4, 1)
        self.out3, self.out4 = conv(4, 4), conv(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c3 = F.relu(self.c3(x))
        c4 = F.relu(self.c4(c3))
        p5 = self.l5(F.relu(self.c5(c4)))
        p4 = self.l4(c4) + F.interpolate(p5, scale_factor=2.0)
        p3 = self.l3(c3) + F.interpolate(p4, scale_factor=2.0)
        return self.out3(p3), self.out4(p4), p5


@specimen(
    "parallel paths that are summed, none of them a shortcut",
    IMAGE,
)
class SummedPaths(nn.Module):
    def __init__(self):
        super().__init__()
        self.a1, self.a2, self.b1, self.b2, self.head = conv(C, C), conv(C, C), conv(C, C), conv(C, C), conv(C, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.a2(F.relu(self.a1(x))) + self.b2(F.relu(self.b1(x)))))


@specimen(
    "scaled weights of norm-free networks: the gain is the last scale",
    IMAGE,
    residual("gain2"),
    fans={"w1": (72, 72)},
)
class NormFree(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(torch.randn(C, C, 3, 3)), nn.Parameter(torch.randn(C, C, 3, 3))
        self.gain1, self.gain2 = nn.Parameter(torch.ones(C, 1, 1, 1)), nn.Parameter(torch.ones(C, 1, 1, 1))

    def scaled(self, w: Tensor, gain: Tensor) -> Tensor:
        return gain * (w - w.mean((1, 2, 3), keepdim=True)) / (72 * w.var((1, 2, 3), keepdim=True) + 1e-4).sqrt()

    def forward(self, x: Tensor) -> Tensor:
        h = F.conv2d(F.relu(x) * 0.9, self.scaled(self.w1, self.gain1), padding=1)
        h = F.conv2d(F.relu(h) * 1.7, self.scaled(self.w2, self.gain2), padding=1)
        return x + 0.2 * h
