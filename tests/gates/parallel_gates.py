"""Run by two processes: a gated model under DistributedDataParallel and under fully_shard, against one process."""

import sys

import torch
import torch.distributed as dist
from torch import nn

import exnihilo as xn
from gated_networks import CRITERION, Residual, vectors
from ranks import leave


def gated():
    torch.manual_seed(0)
    model = Residual()
    xn.initialize(model, "rezero(epsilon=0.2)", vectors()[0], seed=0)
    return model


def stepped(model, batch, steps=3):
    taking = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        taking.zero_grad()
        CRITERION(model(batch[0]), batch[1]).backward()
        taking.step()
    return model


def main(rank, rendezvous):
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    x, y = vectors()
    mine = (x[rank::2], y[rank::2])
    alone = stepped(gated(), (x, y))
    together = stepped(nn.parallel.DistributedDataParallel(gated()), mine).module
    for (name, one), (_, other) in zip(alone.named_parameters(), together.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name} under DDP: {text}")

    from torch.distributed.fsdp import fully_shard

    sharded = gated()
    for block in sharded.blocks:
        fully_shard(block)
    fully_shard(sharded)
    stepped(sharded, mine)
    for name, one in alone.named_parameters():
        whole = sharded.get_parameter(name).full_tensor()
        torch.testing.assert_close(one, whole, msg=lambda text, name=name: f"{name} under fully_shard: {text}")
    leave()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), sys.argv[2])
