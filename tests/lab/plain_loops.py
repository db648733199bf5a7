"""One run of the lab as anyone would write it: torch modules, autograd, torch.optim, one run at a time.

Nothing of the engine, its layers or its optimizers is used. The only things shared are inputs: the split, the first
values, the order of the rows and the dropout masks, which are the definition of a run.
"""

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.fills import Key, uniform
from exnihilo.lab.batches import data_order
from exnihilo.lab.networks import parameters
from exnihilo.lab.records import Run
from exnihilo.lab.starts import begin
from exnihilo.lab.tasks import Task, load, split
from exnihilo.schemes.activations import activation_named


class Plain(nn.Module):
    """The lab's MLP of torch's own modules; parameters carry the lab's names with dots as underscores."""

    def __init__(self, task: Task, run: Run) -> None:
        super().__init__()
        net, n = run.network, run.network.width
        self.run, self.net, self.act = run, net, activation_named(net.activation).function
        self.step = 0
        found = parameters(net, task.num_inputs, task.num_outputs, task.image_shape)
        first = begin(run.start, found, run.seed)
        sizes = {"head": task.num_outputs}
        self.maps = nn.ModuleDict()
        for name in dict.fromkeys(p.map for p in found):
            weight = first[f"{name}.weight"]
            linear = nn.Linear(weight.shape[1], sizes.get(name, n))
            with torch.no_grad():
                linear.weight.copy_(weight)
                linear.bias.copy_(first[f"{name}.bias"])
            if f"{name}.magnitude" in first:
                linear = nn.utils.parametrizations.weight_norm(linear)
            self.maps[name.replace(".", "_")] = linear
            if net.norm == "batch" and f"{name}.norm.weight" in first:
                self.maps[f"{name}_norm".replace(".", "_")] = nn.BatchNorm1d(n)
            if net.norm == "layer" and f"{name}.norm.weight" in first:
                self.maps[f"{name}_norm".replace(".", "_")] = nn.LayerNorm(n)
        self.gates = nn.ParameterDict(
            {k.replace(".", "_"): nn.Parameter(v.clone()) for k, v in first.items() if k.endswith(".gate")}
        )

    def hidden(self, name: str, index: int, h: Tensor) -> Tensor:
        key = name.replace(".", "_")
        z = self.maps[key](h)
        if f"{key}_norm" in self.maps:
            z = self.maps[f"{key}_norm"](z)
        h = self.act(z)
        if self.net.dropout and self.training:
            size = prod(h.shape)
            mask = uniform(Key(self.run.seed, f"dropout/{index}"), size, start=self.step * size).view(h.shape)
            h = h * (mask >= self.net.dropout).float() / (1.0 - self.net.dropout)
        return h

    def forward(self, h: Tensor) -> Tensor:
        if self.net.residual:
            h = self.maps["stem"](h)
            for index in range(self.net.depth):
                branch = self.hidden(f"blocks.{index}.inner", index, h)
                branch = self.maps[f"blocks_{index}_outer"](branch)
                if self.net.gate:
                    branch = branch * self.gates[f"blocks_{index}_outer_gate"]
                h = h + branch
        else:
            for index in range(self.net.depth):
                h = self.hidden(f"layers.{index}", index, h)
        return self.maps["head"](h)


def optimizer_of(run: Run, model: nn.Module) -> torch.optim.Optimizer:
    decay = run.optimizer.weight_decay
    match run.optimizer.name:
        case "sgd":
            return torch.optim.SGD(model.parameters(), lr=run.lr, weight_decay=decay)
        case "momentum":
            return torch.optim.SGD(model.parameters(), lr=run.lr, momentum=0.9, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(model.parameters(), lr=run.lr, weight_decay=decay)
        case _:
            return torch.optim.AdamW(model.parameters(), lr=run.lr, weight_decay=decay)


def train_alone(task: Task, run: Run) -> tuple[dict[str, Tensor], float, float]:
    """Final parameters by the lab's names, test loss and test score of one run."""
    data = split(task, load(task), run.seed if run.split is None else run.split)
    model = Plain(task, run)
    optimizer = optimizer_of(run, model)
    loss_of = F.cross_entropy if task.kind == "classification" else F.mse_loss
    order = data_order(task.name, run.seed, len(data.train.inputs), run.batch_size, run.steps)
    model.train()
    for rows in order:
        optimizer.zero_grad()
        loss_of(model(data.train.inputs[rows]), data.train.targets[rows]).backward()
        optimizer.step()
        model.step += 1
    model.eval()
    with torch.no_grad():
        out = model(data.test.inputs)
        loss = float(loss_of(out, data.test.targets))
        right = float((out.argmax(1) == data.test.targets).float().mean()) if task.kind == "classification" else 0.0
    return named(model), loss, right


def named(model: Plain) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, module in model.maps.items():
        name = key.replace("layers_", "layers.").replace("blocks_", "blocks.")
        for part in ("_inner", "_outer", "_norm"):
            name = name.replace(part, part.replace("_", "."))
        for parameter, value in module.named_parameters():
            parameter = parameter.replace("parametrizations.weight.original0", "magnitude")
            parameter = parameter.replace("parametrizations.weight.original1", "weight")
            found[f"{name}.{parameter}"] = value.detach().squeeze(1) if parameter == "magnitude" else value.detach()
    for key, value in model.gates.items():
        found[key.replace("blocks_", "blocks.").replace("_", ".")] = value.detach()
    return found
