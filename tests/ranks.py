"""How a process of a group ends."""

import os
import sys

import torch.distributed as dist


def leave():
    """End this process once every rank has come this far, without Python's own end.

    A rank that ends while others still gather breaks their connection. And gloo's threads outlive
    `destroy_process_group`, for DTensor's caches keep the group: one that still holds a tensor while Python ends
    aborts the process, about once in a hundred times where there are more processes than cores (pytorch#190489).
    """
    dist.barrier()
    dist.destroy_process_group()
    sys.stdout.flush()
    os._exit(0)
