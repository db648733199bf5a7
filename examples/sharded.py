"""A Llama of transformers, sharded over as many processes as there are: one fingerprint, whatever their number.

python examples/sharded.py                            one process
torchrun --nproc-per-node 4 examples/sharded.py       four, each with a quarter of every parameter
"""

import argparse
import os
import sys

import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

import exnihilo as xn

SIZES = {
    "small": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "vocab_size": 8192},
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "vocab_size": 128256},
}

parser = argparse.ArgumentParser()
parser.add_argument("--size", choices=SIZES, default="small")
size = SIZES[parser.parse_args().size]
config = LlamaConfig(num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=True, **size)

model, plan = xn.record(lambda: LlamaForCausalLM(config))  # no memory is touched, and nothing is drawn
world = int(os.environ.get("WORLD_SIZE", "1"))
if world > 1:
    mesh = init_device_mesh("cpu", (world,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)

xn.materialize(model, plan, seed=0)  # each process draws its own shards
print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {world} process(es): {xn.fingerprint(model)}")
if world > 1:
    dist.barrier()  # a process that leaves while others still gather would break their connection
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads outlive the group, and may abort a process while Python ends (pytorch#190489)
