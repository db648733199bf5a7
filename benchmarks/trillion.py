"""A trillion parameters on 16,384 ranks, on one machine: what each rank would write, and what that takes.

A dense transformer is built on the meta device, read and planned; its matrices are sharded by tensor parallelism within
64 ranks and by FSDP over 256 of those groups. Then, with no memory for the model:

* the boxes of every rank are computed, and the bytes of all of them counted against the model's own;
* one rank's part, that of the rank that has most to write, is really drawn, box by box;
* single elements of random parameters of random ranks are compared with the law of the unsharded tensor, bit for bit.

Run: python benchmarks/trillion.py [--width 25600] [--blocks 128] [--fsdp 256] [--tensor 64] [--json]
"""

import argparse
import itertools
import json
import math
import random
import resource
import time
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

from exnihilo.fills import Box, Key
from exnihilo.fills.shards import boxes
from exnihilo.layouts import Layout
from exnihilo.plans.make import plan
from exnihilo.plans.records import Plan, Row
from exnihilo.schemes.boxes import fill_box_, is_local, sample_box
from exnihilo.schemes.spec import from_text

SEED, RECIPE, ELEMENTS = 0, "gpt2", 200
HEAD_WIDTH = 128


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        each = math.gcd(HEAD_WIDTH, x.shape[-1])
        query, key, value = (part.unflatten(-1, (-1, each)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1))
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(width), Attention(width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, width: int, blocks: int, vocabulary: int):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def placements(name: str, tensor_ranks: int) -> list[Any]:
    """What ``parallelize_module`` and then ``fully_shard`` make of a parameter, over the mesh (FSDP, tensor)."""
    if any(part in name for part in ("qkv", "up", "head")):
        return [_StridedShard(0, split_factor=tensor_ranks), Shard(0)]
    if name.endswith(("out.weight", "down.weight", "embed.weight")):
        return [Shard(0), Shard(1)]
    return [Shard(0), Replicate()]


def numel(found: tuple[Box, ...]) -> int:
    return sum(box.numel for box in found)


class Clock:
    """Seconds since the last question, by the wall and of this process: on a shared machine they differ."""

    def __init__(self) -> None:
        self.asked = (time.perf_counter(), time.process_time())

    def lap(self) -> dict[str, float]:
        now = (time.perf_counter(), time.process_time())
        wall, cpu = (after - before for before, after in zip(self.asked, now, strict=True))
        self.asked = now
        return {"wall": wall, "cpu": cpu}


def planned(arguments: argparse.Namespace) -> tuple[Plan, dict[str, dict[str, float]]]:
    clock = Clock()
    with torch.device("meta"):
        model = Transformer(arguments.width, arguments.blocks, arguments.vocabulary).to(torch.bfloat16)
    seconds = {"build": clock.lap()}
    made = plan(model, RECIPE, example=torch.zeros(1, 4, dtype=torch.long, device="meta"))
    assert all(row.action == "assign" and is_local(from_text(row.scheme or "")) for row in made.rows)
    return made, seconds | {"plan": clock.lap()}


def bytes_of_ranks(rows: tuple[Row, ...], mesh: tuple[int, int], itemsize: int) -> dict[tuple[int, ...], int]:
    """Bytes that every rank writes; parameters of one shape and placement have the same boxes."""
    kinds = Counter((row.shape, tuple(placements(row.parameter, mesh[1]))) for row in rows)
    return {
        place: sum(
            numel(boxes(shape, mesh, place, placed)) * count * itemsize for (shape, placed), count in kinds.items()
        )
        for place in itertools.product(*map(range, mesh))
    }


def bytes_with_replicas(rows: tuple[Row, ...], mesh: tuple[int, int], itemsize: int) -> int:
    """The model's bytes, each as often as ranks hold it."""
    copies = {
        row.parameter: math.prod(
            ranks
            for ranks, placed in zip(mesh, placements(row.parameter, mesh[1]), strict=True)
            if placed == Replicate()
        )
        for row in rows
    }
    return sum(math.prod(row.shape) * copies[row.parameter] * itemsize for row in rows)


def seconds_to_write(
    rows: tuple[Row, ...], mesh: tuple[int, int], place: tuple[int, ...], dtype: torch.dtype
) -> dict[str, float]:
    """One rank's whole part, really drawn, into memory that was touched before."""
    parts = [(row, box) for row in rows for box in boxes(row.shape, mesh, place, placements(row.parameter, mesh[1]))]
    memory = torch.zeros(max(box.numel for _, box in parts), dtype=dtype)
    clock = Clock()
    for row, box in parts:
        view = memory[: box.numel].view(box.sizes)
        fill_box_(view, from_text(row.scheme or ""), row.layout, Key(SEED, row.parameter), box)
    return clock.lap()


def equal_elements(rows: tuple[Row, ...], mesh: tuple[int, int], dtype: torch.dtype) -> int:
    """How many of some random elements are, within a rank's box, what the unsharded law gives at their index."""
    choose, equal, seen = random.Random(SEED), 0, 0
    while seen < ELEMENTS:
        row, place = choose.choice(rows), tuple(choose.randrange(size) for size in mesh)
        found = boxes(row.shape, mesh, place, placements(row.parameter, mesh[1]))
        if not found:
            continue
        box, seen = choose.choice(found), seen + 1
        scheme, key = from_text(row.scheme or ""), Key(SEED, row.parameter)
        local = torch.empty(box.sizes, dtype=dtype)
        fill_box_(local, scheme, row.layout, key, box)
        at = tuple(choose.randrange(size) for size in box.sizes)
        one = Box(row.shape, tuple(o + i for o, i in zip(box.offsets, at, strict=True)), (1,) * len(at))
        equal += bool(local[at] == alone(scheme, row.layout, key, one).to(dtype))
    return equal


def alone(scheme: Any, layout: Layout, key: Key, one: Box) -> Tensor:
    """One element by its index in the full tensor, with no shard in sight."""
    return sample_box(scheme, layout, key, one).reshape(())


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    mesh, dtype = (arguments.fsdp, arguments.tensor), torch.bfloat16
    made, seconds = planned(arguments)
    clock = Clock()
    written = bytes_of_ranks(made.rows, mesh, dtype.itemsize)
    seconds["boxes of every rank"] = clock.lap()
    most = max(written, key=lambda place: written[place])
    seconds["one rank's draws"] = seconds_to_write(made.rows, mesh, most, dtype)
    total = bytes_with_replicas(made.rows, mesh, dtype.itemsize)
    assert sum(written.values()) == total
    equal = equal_elements(made.rows, mesh, dtype)
    assert equal == ELEMENTS
    return {
        "parameters": sum(math.prod(row.shape) for row in made.rows),
        "tensors": len(made.rows),
        "ranks": math.prod(mesh),
        "bytes": {
            "model": sum(math.prod(row.shape) for row in made.rows) * dtype.itemsize,
            "model, replicas counted": total,
            "all ranks": sum(written.values()),
            "fewest of a rank": min(written.values()),
            "most of a rank": max(written.values()),
        },
        "seconds": seconds,
        "peak MiB of this process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "equal elements": equal,
        "threads": torch.get_num_threads(),
    }


def table(found: dict[str, Any]) -> str:
    lines = [
        ("parameters", f"{found['parameters']:,} in {found['tensors']:,} tensors"),
        ("ranks", f"{found['ranks']:,}"),
        *((f"bytes, {what}", f"{count:,}") for what, count in found["bytes"].items()),
        *(
            (f"seconds, {what}", f"{took['wall']:.2f} (CPU {took['cpu']:.2f})")
            for what, took in found["seconds"].items()
        ),
        ("peak memory of this process", f"{found['peak MiB of this process']:,.0f} MiB"),
        ("elements equal to the unsharded law", f"{found['equal elements']} of {ELEMENTS}"),
        ("threads", f"{found['threads']}"),
    ]
    return "\n".join(f"{what:<38}{value:>40}" for what, value in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=25600)
    parser.add_argument("--blocks", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=131072)
    parser.add_argument("--fsdp", type=int, default=256, help="ranks of the mesh's first dim")
    parser.add_argument("--tensor", type=int, default=64, help="ranks of its second")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    found = measured(arguments)
    print(json.dumps(found) if arguments.json else table(found))


if __name__ == "__main__":
    main()
