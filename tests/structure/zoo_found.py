"""What models in use do that none of the other specimens did: each was found in timm or transformers."""

import torch
import torch.nn.functional as F
from specimen import UNJUDGED, floats, residual, specimen
from torch import Tensor, nn
from zoo_attention import HEADS, Attend, D, Mlp, T, X, heads, merge


class Cross(nn.Module):
    """Attention of the first token to all."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = heads(self.q(x[:, :1])), heads(self.k(x)), heads(self.v(x))
        return self.o(merge(F.scaled_dot_product_attention(q, k, v)))


@specimen(
    "class token of one stream beside the tokens of another: the shortcut is a slice of a concatenation",
    X,
    residual("fuse.o.weight", norm="pre"),
    roles={"fuse.q.weight": "QUERY", "head.weight": "HEAD"},
)
class CrossStreams(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.other = nn.Linear(D, D), nn.Linear(D, D)
        self.norm, self.fuse, self.head = nn.LayerNorm(D), Cross(), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([torch.tanh(self.first(x))[:, :1], torch.tanh(self.other(x))[:, 1:]], dim=1)
        token = both[:, :1] + self.fuse(self.norm(both))
        return self.head(token[:, 0])


@specimen(
    "class token that joins late: a parameter is the first shortcut",
    X,
    residual("attn1.o.weight", norm="pre"),
    residual("attn2.o.weight", norm="pre"),
    roles={"token": "EMBEDDING", "head.weight": "HEAD"},
)
class LateToken(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.token = nn.Linear(D, D), nn.Parameter(torch.randn(1, 1, D))
        self.n1, self.n2, self.attn1, self.attn2 = nn.LayerNorm(D), nn.LayerNorm(D), Cross(), Cross()
        self.head = nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x, token = torch.tanh(self.stem(x)), self.token.expand(x.shape[0], -1, -1)
        token = token + self.attn1(self.n1(torch.cat([token, x], dim=1)))
        token = token + self.attn2(self.n2(torch.cat([token, x], dim=1)))
        return self.head(token[:, 0])


@specimen(
    "learned scale on the shortcut",
    X,
    residual("attn.o.weight", shortcut=UNJUDGED, norm="pre"),
    residual("mlp.down.weight", shortcut=UNJUDGED, norm="pre"),
    roles={"mlp.down.weight": "RESIDUAL_OUT"},
)
class ScaledShortcuts(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2, self.attn, self.mlp = nn.LayerNorm(D), nn.LayerNorm(D), Attend(), Mlp()
        self.keep1, self.keep2 = nn.Parameter(torch.ones(D)), nn.Parameter(torch.ones(D))

    def forward(self, x: Tensor) -> Tensor:
        x = self.keep1 * x + self.attn(self.n1(x))
        return self.keep2 * x + self.mlp(self.n2(x))


@specimen(
    "projected and max-pooled shortcut behind the norm of the branch",
    floats(2, 8, D),
    residual("attn.o.weight", shortcut="projection"),
    residual("mlp.down.weight", shortcut="identity", norm="pre"),
    fans={"project.weight": (D, D)},
)
class PooledProjection(nn.Module):
    class Pooling(Attend):
        def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
            q = self.q(x).unflatten(1, (-1, 2)).amax(2)
            return self.o(merge(F.scaled_dot_product_attention(heads(q), heads(self.k(x)), heads(self.v(x)))))

    def __init__(self):
        super().__init__()
        self.n1, self.project, self.attn = nn.LayerNorm(D), nn.Linear(D, D), self.Pooling()
        self.n2, self.mlp = nn.LayerNorm(D), Mlp()

    def forward(self, x: Tensor) -> Tensor:
        h = self.n1(x)
        x = self.project(h).unflatten(1, (-1, 2)).amax(2) + self.attn(h)
        return x + self.mlp(self.n2(x))


@specimen(
    "a map of the hidden state is added to the scores",
    X,
    residual("o.weight", norm="post"),
    roles={"q.weight": "QUERY", "k.weight": "KEY", "v.weight": "VALUE", "o.weight": "RESIDUAL_OUT"},
)
class MappedScores(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))
        self.relative, self.norm = nn.Linear(D, HEADS * 2 * T), nn.LayerNorm(D)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = heads(self.q(x)), heads(self.k(x)), heads(self.v(x))
        place = torch.arange(T, device=x.device)
        delta = (place[None] - place[:, None] + T).expand(x.shape[0], HEADS, T, T)
        scores = q @ k.transpose(-1, -2) + torch.gather(heads(self.relative(x)), -1, delta)
        return self.norm(x + self.o(merge(torch.softmax(scores, dim=-1) @ v)))


@specimen(
    "two heads, one of all tokens, summed: no residual",
    X,
    roles={"head.weight": "HEAD", "side.weight": "HEAD"},
)
class SummedHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.head, self.side = nn.Linear(D, D), nn.LayerNorm(D), nn.Linear(D, 3), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(torch.relu(self.stem(x)))
        return self.head(x[:, 0]) + 0.5 * self.side(x[:, 1:]).amax(1)


@specimen(
    "blend by a learned share: x + share·(f(x) - x)",
    X,
    # With f at zero it is (1 - share)·x: no zero of f makes it the identity.
    residual("", maps="mlp.down.weight", norm="pre"),
)
class Blended(nn.Module):
    def __init__(self):
        super().__init__()
        self.share, self.norm, self.mlp = nn.Parameter(torch.full((D,), 1e-4)), nn.LayerNorm(D), Mlp()

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sigmoid(self.share) * (self.mlp(self.norm(x)) - x)


@specimen(
    "a decoder that starts from learned queries and adds them to keys at every layer",
    X,
    residual("layer1.o.weight", norm="post"),
    residual("layer2.o.weight", norm="post"),
)
class Queries(nn.Module):
    """As in DETR: the stream starts at zero, so the first sum is no more than its branch; the queries are places."""

    def __init__(self):
        super().__init__()
        self.queries, self.layer0 = nn.Parameter(torch.randn(3, D)), Attend()
        self.layer1, self.layer2 = Attend(), Attend()
        self.n1, self.n2 = nn.LayerNorm(D), nn.LayerNorm(D)

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer0(self.queries.expand(x.shape[0], -1, -1), x)
        z = self.n1(z + self.layer1(z + self.queries, x))
        return self.n2(z + self.layer2(z + self.queries))


@specimen(
    "a branch that keeps all tokens but the first as they are: zeros make it no identity",
    X,
    residual(""),
    otherwise=((residual("mlp.down.weight"),),),
)
class KeepsTokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.cat([self.mlp(x[:, :1]), x[:, 1:]], dim=1)


class FrozenNorm(nn.Module):
    """Statistics, scale and shift are buffers, and applied by hand."""

    def __init__(self, width: int):
        super().__init__()
        for name, value in {"weight": 1.0, "bias": 0.1, "mean": 0.0, "var": 1.0}.items():
            self.register_buffer(name, torch.full((1, width, 1, 1), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.var + 1e-5).rsqrt()
        return x * scale + (self.bias - self.mean * scale)


@specimen(
    "norms whose values are buffers, on branch and projected shortcut",
    floats(2, D, 8, 8),
    residual("conv2.weight", shortcut="projection", maps="conv2.weight"),
    residual("conv4.weight", shortcut="identity", maps="conv4.weight"),
    roles={"conv2.weight": "RESIDUAL_OUT"},
)
class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(in_, 16, 3, padding=1, bias=False) for in_ in (D, 16, 16, 16)
        )
        self.project = nn.Conv2d(D, 16, 1, bias=False)
        self.n1, self.n2, self.n3, self.n4, self.n5 = (FrozenNorm(16) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        h = self.n2(self.conv2(torch.relu(self.n1(self.conv1(x)))))
        x = torch.relu(h + self.n5(self.project(x)))
        return torch.relu(self.n4(self.conv4(torch.relu(self.n3(self.conv3(x))))) + x)


@specimen(
    "experts whose weights and biases are looked up by the router's choice",
    floats(6, D),
    residual("down", norm="pre", biases="down_bias"),
    roles={"router.weight": "ROUTER", "down": "RESIDUAL_OUT", "up_bias": "BIAS", "down_bias": "BIAS"},
)
class ChosenExperts(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.router = nn.LayerNorm(D), nn.Linear(D, 3)
        self.up, self.up_bias = nn.Parameter(torch.randn(3, D, 16) / 3), nn.Parameter(torch.randn(3, 16))
        self.down, self.down_bias = nn.Parameter(torch.randn(3, 16, D) / 4), nn.Parameter(torch.randn(3, D))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        share, chosen = torch.softmax(self.router(h), -1).topk(2)
        total = torch.zeros_like(x)
        for place in range(2):
            expert = chosen[:, place]
            inner = torch.relu(torch.bmm(h[:, None], self.up[expert])[:, 0] + self.up_bias[expert])
            out = torch.bmm(inner[:, None], self.down[expert])[:, 0] + self.down_bias[expert]
            total = total + share[:, place, None] * out
        return x + total


@specimen(
    "a packed bias put together from two parameters and zeros",
    X,
    residual("out.weight", norm="pre", biases="out.bias"),
    roles={"q_bias": "BIAS", "v_bias": "BIAS"},
    slices={"qkv": {"QUERY": ((0, D),), "KEY": ((D, 2 * D),), "VALUE": ((2 * D, 3 * D),)}},
    fans={"qkv": (D, D)},
)
class JoinedBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(D), nn.Parameter(torch.randn(3 * D, D) / 3), nn.Linear(D, D)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(D)), nn.Parameter(torch.zeros(D))

    def forward(self, x: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = (heads(part) for part in F.linear(self.norm(x), self.qkv, bias).chunk(3, dim=-1))
        return x + self.out(merge(F.scaled_dot_product_attention(q, k, v)))


@specimen(
    "response norm that adds its input back: no branch of its own",
    floats(2, 4, 4, D),
    residual("down.weight"),
    activations={"up.weight": "gelu"},
)
class Response(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.norm = nn.Conv2d(D, D, 3, padding=1, groups=D), nn.LayerNorm(D)
        self.up, self.down = nn.Linear(D, 16), nn.Linear(16, D)
        self.weight, self.bias = nn.Parameter(torch.zeros(16)), nn.Parameter(torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.mix(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        h = F.gelu(self.up(h))
        size = h.norm(p=2, dim=(1, 2), keepdim=True)
        h = h + torch.addcmul(self.bias, self.weight, h * (size / (size.mean(-1, keepdim=True) + 1e-6)))
        return x + self.down(h)


@specimen(
    "squeeze and excitation of what an activation gave, on a projected shortcut too",
    floats(2, D, 8, 8),
    residual("bn2.weight", biases="bn2.bias", shortcut="projection", maps="conv2.weight"),
    residual("bn4.weight", biases="bn4.bias", shortcut="identity", maps="conv4.weight"),
)
class ExcitedActivation(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            nn.Conv2d(in_, 16, 3, padding=1, bias=False) for in_ in (D, 16, 16, 16)
        )
        self.bn1, self.bn2, self.bn3, self.bn4, self.bn5 = (nn.BatchNorm2d(16) for _ in range(5))
        self.project, self.down, self.up = nn.Conv2d(D, 16, 1, bias=False), nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)

    def excite(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True)))))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        x = torch.relu(self.excite(h) + self.bn5(self.project(x)))
        h = torch.relu(self.bn4(self.conv4(torch.relu(self.bn3(self.conv3(x))))))
        return torch.relu(self.excite(h) + x)
