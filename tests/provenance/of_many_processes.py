"""One of the processes that hold a model together: prints the fingerprints that it sees, as JSON.

    python of_many_processes.py RANK WORLD_SIZE FILE

The file is where the processes meet.
"""

import json
import sys
import warnings

import torch
import torch.distributed as dist
from started import Net
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError
from ranks import leave

warnings.simplefilter("ignore")  # those of torch.distributed itself


def model():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Linear(5, 3, bias=False)).bfloat16()
    made.net = Net()
    return made


def main(rank, size, meeting):
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor
    from torch.nn.parallel import DistributedDataParallel

    mesh = init_device_mesh("cpu", (size,))
    found = {"plain": str(xn.fingerprint(model()))}

    sharded = model()
    fully_shard(sharded.net, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    local = sharded[0].weight.to_local().numel()
    found["fully_shard"] = str(xn.fingerprint(sharded))
    found["is sharded"] = isinstance(sharded[0].weight, DTensor) and local < 35

    split = model()
    split[0].weight = nn.Parameter(distribute_tensor(split[0].weight.detach(), mesh, [Shard(1)]))
    found["split along its inputs"] = str(xn.fingerprint(split))

    found["distributed"] = str(xn.fingerprint(DistributedDataParallel(model())))

    # One dtype, which a flat parameter has.
    flat = FullyShardedDataParallel(model().float(), device_id=torch.device("cpu"), use_orig_params=True)
    try:
        xn.fingerprint(flat)
    except InvalidValueError as error:
        found["slices"] = error.fact
    print(json.dumps(found))
    leave()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
