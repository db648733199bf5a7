"""Run by each process of a group: cases of sharded writing by name, with what failed in each of them on this rank."""

import contextlib
import json
import sys
import time
import traceback
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard

import exnihilo as xn
from exnihilo import schemes
from exnihilo.errors import InvalidValueError, ShardError, StalePlanError
from exnihilo.fills import Key
from exnihilo.fills.shards import pieces
from exnihilo.plans import writing
from exnihilo.plans.scattering import gathered, owner_of
from exnihilo.plans.writing import Draw, write_, write_all_
from exnihilo.schemes.spec import from_text

WIDTH, HEADS, TOKENS = 12, 2, 18
TOKENS_IN = torch.arange(8).reshape(2, 4)


class Attention(nn.Module):
    """Two heads that ask and one that answers, packed in parts of unequal size."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        each = WIDTH // HEADS
        parts = self.qkv(x).split([WIDTH, each, each], dim=-1)
        query, key, value = (part.unflatten(-1, (-1, each)).transpose(1, 2) for part in parts)
        mixed = nn.functional.scaled_dot_product_attention(query, key.expand_as(query), value.expand_as(query))
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attention, self.norm2 = nn.LayerNorm(WIDTH), Attention(), nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(TOKENS, WIDTH, padding_idx=1)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 7, bias=False)

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


SCHEMES = [
    "normal(std=0.02)",
    "uniform(bound=0.1)",
    "truncated_normal(std=0.02)",
    "TruncatedNormal(std=0.5, lower=1.0, upper=6.0)",
    "he_normal",
    "lecun_uniform",
    "constant(value=0.5)",
    "zeros",
    "ZeroRow(base=Normal(std=0.02), row=3)",
    "Sliced(base=VarianceScaling(), runs=(0, 4, 1, 1, 2, 2))",
    "Noisy(base=Constant(value=1.0), std=0.1)",
    "Orthogonal(gain=0.5)",
    "Sparse(sparsity=0.5)",
]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def flat_bytes(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def same_bits(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(flat_bytes(one), flat_bytes(other))


def empty(shape, mesh, placements, dtype=torch.float32):
    """A parameter of a mesh whose values are all NaN."""
    whole = torch.full(shape, float("nan"), dtype=dtype)
    return nn.Parameter(distribute_tensor(whole, mesh, placements, src_data_rank=None))


def alone(text, layout, key, dtype):
    """What a process by itself gets, by the road that knows of no shards."""
    return from_text(text).sample(layout, key).to(dtype)


def require_equal_to_alone(shape, mesh, placements, texts=SCHEMES, dtypes=("float32", "bfloat16")):
    layout = xn.Layout.linear(*shape)
    for number, text in enumerate(texts):
        for name in dtypes:
            key = Key(3, f"layer{number}.weight")
            parameter = empty(shape, mesh, placements, DTYPES[name])
            state = torch.get_rng_state()
            write_(parameter, from_text(text), layout, key)
            assert torch.equal(state, torch.get_rng_state())
            assert same_bits(gathered(parameter), alone(text, layout, key, DTYPES[name])), f"{text} {name}"


ONE_DIM = {
    "rows": ((14, 6), [Shard(0)]),
    "columns": ((14, 6), [Shard(1)]),
    "fewer rows than ranks": ((7, 1), [Shard(1)]),
    "replicas": ((14, 6), [Replicate()]),
    "strided": ((14, 6), [_StridedShard(0, split_factor=3)]),
}
TWO_DIMS = {
    "rows twice": [Shard(0), Shard(0)],
    "rows and columns": [Shard(0), Shard(1)],
    "columns and rows": [Shard(1), Shard(0)],
    "columns of replicas": [Replicate(), Shard(1)],
    "replicas of rows": [Shard(0), Replicate()],
    "strided rows": [_StridedShard(0, split_factor=2), Shard(0)],
}


def one_dim(world, case):
    shape, placements = ONE_DIM[case]
    texts = [text for text in SCHEMES if not text.startswith(("ZeroRow", "Sliced"))] if shape[0] < 14 else SCHEMES
    require_equal_to_alone(shape, init_device_mesh("cpu", (world,)), placements, texts)


def two_dims(world, case):
    require_equal_to_alone((14, 6), init_device_mesh("cpu", (2, world // 2)), TWO_DIMS[case])


def a_mesh_out_of_order(world):
    mesh = DeviceMesh("cpu", torch.arange(world).flip(0).reshape(2, -1))
    layout, key = xn.Layout.linear(14, 6), Key(0, "w")
    for text in ("Orthogonal()", "normal(std=1.0)"):
        parameter = empty((14, 6), mesh, [Shard(0), Shard(1)])
        write_(parameter, from_text(text), layout, key)
        expected = alone(text, layout, key, torch.float32)
        # PyTorch gathers such a mesh in the order of ranks, and so wrongly: shards are looked at where they lie.
        for view, box in pieces(parameter):
            assert same_bits(view, expected[box.slices]), text


def a_mesh_of_some_ranks(world):
    mesh = DeviceMesh("cpu", torch.arange(1, world))
    layout, inside = xn.Layout.linear(14, 6), dist.get_rank() > 0
    for text in ("Orthogonal()", "normal(std=1.0)"):
        parameter = empty((14, 6), mesh, [Shard(0)])
        write_(parameter, from_text(text), layout, Key(0, "w"))
        full = gathered(parameter)
        assert (full is None) is not inside
        assert not inside or same_bits(full, alone(text, layout, Key(0, "w"), torch.float32))


def float64_shards(world):
    require_equal_to_alone((14, 6), init_device_mesh("cpu", (world,)), [Shard(0)], dtypes=["float64"])


def many_owners(world):
    mesh = init_device_mesh("cpu", (2, world // 2))
    drawn_by = []
    sample = schemes.Orthogonal.sample

    def noted(scheme, layout, key):
        drawn_by.append(key.name)
        return sample(scheme, layout, key)

    schemes.Orthogonal.sample = noted
    try:
        layout = xn.Layout.linear(6, 6)
        draws = [
            Draw(
                parameter=empty((6, 6), mesh, [Shard(0), Replicate()]),
                scheme=schemes.Orthogonal(),
                layout=layout,
                key=Key(0, f"w{number}"),
            )
            for number in range(12)
        ]
        write_all_(draws)
    finally:
        schemes.Orthogonal.sample = sample
    here = tuple(mesh.get_coordinate())
    assert drawn_by == [d.key.name for d in draws if owner_of(d.key, mesh.shape) == here]
    assert 0 < len(drawn_by) < 12
    for draw in draws:
        assert same_bits(gathered(draw.parameter), sample(draw.scheme, layout, draw.key))


def flat_shards(world):
    """Each rank its stretch of a flattened parameter, laid end to end."""
    layout, key = xn.Layout.linear(14, 6), Key(1, "w")
    length = -(-14 * 6 // world)
    start = min(dist.get_rank() * length, 84)
    for text in SCHEMES:
        mine = torch.full([length], float("nan"))
        writing.fill_flat_(mine[: min(length, 84 - start)], from_text(text), layout, key, start)
        parts = [torch.empty_like(mine) for _ in range(world)]
        dist.all_gather(parts, mine)
        assert same_bits(torch.cat(parts)[:84].reshape(14, 6), alone(text, layout, key, torch.float32)), text


def the_first_fsdp(world):
    """FullyShardedDataParallel lays parameters end to end and cuts the whole: each rank writes what it has of each."""
    model = FullyShardedDataParallel(Transformer(), device_id=torch.device("cpu"), use_orig_params=True)
    plan, single = planned("gpt2"), Transformer()
    xn.apply(plan, single, seed=5)
    flat = model._handle.flat_param
    for name, mine, cut in zip(flat._fqns, flat._params, flat._shard_param_infos, strict=True):
        if cut.in_shard:
            row = plan.by_name[name]
            writing.fill_flat_(mine, from_text(row.scheme), row.layout, Key(5, name), cut.intra_param_start_idx)
    with FullyShardedDataParallel.summon_full_params(model, writeback=False):
        for name, parameter in model.module.named_parameters():
            assert same_bits(parameter, single.get_parameter(name)), name


def local_schemes_wait_for_nobody(world):
    """The first rank has written all its shards before any other begins."""
    mesh = init_device_mesh("cpu", (2, world // 2))
    texts = [text for text in SCHEMES if not text.startswith(("Orthogonal", "Sparse"))]
    parameters = [empty((14, 6), mesh, [Shard(0), Shard(1)]) for _ in texts]
    done = Path(sys.argv[3]) / "written"
    began = time.monotonic()
    while dist.get_rank() > 0 and not done.exists():
        assert time.monotonic() - began < 20, "the first rank waited for the others"
        time.sleep(0.01)
    with refused_collectives():
        for text, parameter in zip(texts, parameters, strict=True):
            write_(parameter, from_text(text), xn.Layout.linear(14, 6), Key(0, text))
    done.touch()
    for text, parameter in zip(texts, parameters, strict=True):
        expected = alone(text, xn.Layout.linear(14, 6), Key(0, text), torch.float32)
        assert same_bits(gathered(parameter), expected), text


@contextlib.contextmanager
def refused_collectives():
    """Within, every call of torch.distributed that sends or receives is an error."""
    names = [name for name in dir(dist) if name.startswith(("all_", "reduce", "broadcast", "scatter", "gather"))]
    names += ["send", "recv", "isend", "irecv", "barrier"]
    kept = {name: getattr(dist, name) for name in names if callable(getattr(dist, name, None))}

    def refused(*arguments, **options):
        raise AssertionError("something was communicated")

    for name in kept:
        setattr(dist, name, refused)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(dist, name, function)


def planned(recipe="orthogonal", **options):
    return xn.plan(Transformer(), recipe, example=TOKENS_IN, **options)


OVERRIDES = {
    "blocks.0.up.weight": "truncated_normal(std=0.02)",
    "blocks.1.up.weight": "Sparse(sparsity=0.9)",
}


def by_fsdp(world, num_replicas=1, dtype=torch.float32):
    model = Transformer().to(dtype)
    mesh = init_device_mesh("cpu", (num_replicas, world // num_replicas), mesh_dim_names=("replicas", "shards"))
    mesh = mesh["shards"] if num_replicas == 1 else mesh
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def by_fsdp_and_tensor_parallel(world):
    mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("dp", "tp"))
    model = Transformer()
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    for block in model.blocks:
        parallelize_module(block, mesh["tp"], plan)
        fully_shard(block, mesh=mesh["dp"])
    fully_shard(model, mesh=mesh["dp"])
    assert any("_Strided" in repr(p.placements) for p in model.parameters())
    return model


def require_applied(model, plan, dtype=torch.float32):
    single = Transformer().to(dtype)
    state = torch.get_rng_state()
    expected = xn.apply(plan, single, seed=5)
    got = xn.apply(plan, model, seed=5)
    assert torch.equal(state, torch.get_rng_state())
    assert got.written == expected.written  # digests, spreads and all
    for name, parameter in single.named_parameters():
        assert same_bits(gathered(model.get_parameter(name)), parameter), name
    assert xn.survived(got, model).intact
    with torch.no_grad():
        next(iter(model.parameters())).to_local().add_(1.0)
    assert [entry.parameter for entry in xn.survived(got, model).overwritten] == ["embed.weight"]


def fsdp(world):
    plan = planned(overrides=OVERRIDES)
    written = {row.scheme.partition("(")[0] for row in plan.rows}
    assert {"ZeroRow", "Sliced", "Orthogonal", "Sparse", "TruncatedNormal"} <= written, written
    require_applied(by_fsdp(world), plan)


def fsdp_of_replicas(world):
    require_applied(by_fsdp(world, num_replicas=2), planned())


def fsdp_bfloat16(world):
    plan = xn.plan(Transformer().to(torch.bfloat16), "gpt2", example=TOKENS_IN)
    require_applied(by_fsdp(world, dtype=torch.bfloat16), plan, torch.bfloat16)


def fsdp_and_tensor_parallel(world):
    require_applied(by_fsdp_and_tensor_parallel(world), planned(overrides=OVERRIDES))


def after_a_forward_pass(world):
    """The root keeps full parameters after a forward pass; they are no place to write to."""
    model = Transformer()
    for block in model.blocks:
        fully_shard(block, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    fully_shard(model, reshard_after_forward=False, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    model(TOKENS_IN)
    assert not isinstance(model.embed.weight, DTensor)
    require_applied(model, planned())


def from_meta(world):
    """Sharded without memory, given memory, then written: no rank ever holds the model."""
    with torch.device("meta"):
        model = Transformer()
    fully_shard(model)
    plan = planned()
    refuses(InvalidValueError, "is on the meta device", lambda: xn.apply(plan, model, seed=5))
    model.to_empty(device="cpu")
    require_applied(model, plan)


def refuses(kind, words, act):
    """``act()`` raises such an error, which says so."""
    try:
        act()
    except kind as error:
        assert words in str(error), str(error)
    else:
        raise AssertionError(f"no {kind.__name__}")


def held(model):
    return [p.to_local().detach().clone() for p in model.parameters()]


def require_untouched(model, before):
    assert all(same_bits(one, other) for one, other in zip(before, held(model), strict=True))


def one_rank_refuses(world):
    """A shard that is wrong on one rank: all ranks raise, and nothing is written on any."""
    model, plan = by_fsdp(world), planned()
    if dist.get_rank() == 1:
        weight = model.head.weight
        torn = DTensor.from_local(
            torch.zeros(9, WIDTH), weight.device_mesh, weight.placements, shape=weight.shape, stride=weight.stride()
        )
        model.head._parameters["weight"] = nn.Parameter(torn)
    before = held(model)
    words = "'head.weight' cannot be written" if dist.get_rank() == 1 else "Another rank"
    refuses(ShardError, words, lambda: xn.apply(plan, model, seed=0))
    require_untouched(model, before)


def ranks_differ(world):
    """In the seed, or in one scheme of the plan: all ranks raise, none waits for another, and nothing is written."""
    for recipe in ("he", "orthogonal"):
        plan, other = planned(recipe), planned(recipe, overrides={"head.weight": "normal(std=0.5)"})
        is_last = dist.get_rank() == world - 1
        for given, seed in ((plan, int(is_last)), (other if is_last else plan, 0)):
            model = by_fsdp(world)
            before = held(model)
            refuses(ShardError, "differ in what they are to write", partial(xn.apply, given, model, seed=seed))
            require_untouched(model, before)


def one_rank_fails_half_way(world):
    """A write that breaks off on one rank: every rank puts its old values back."""
    model, plan = by_fsdp(world), planned()
    before, write, count = held(model), writing._write_here, 0

    def failing(draw):
        nonlocal count
        count += 1
        if count == 4 and dist.get_rank() == 1:
            raise RuntimeError("the device is gone")
        write(draw)

    writing._write_here = failing
    kind, words = (RuntimeError, "the device is gone") if dist.get_rank() == 1 else (ShardError, "Another rank")
    try:
        refuses(kind, words, lambda: xn.apply(plan, model, seed=0))
    finally:
        writing._write_here = write
    assert count >= 4
    require_untouched(model, before)


def the_owner_fails(world):
    """What one rank draws for all cannot be drawn there: every rank raises, and puts its old values back."""
    model, plan = by_fsdp(world), planned()
    before, sample = held(model), schemes.Orthogonal.sample

    def failing(scheme, layout, key):
        raise RuntimeError("no factorization")

    if dist.get_rank() == 1:
        schemes.Orthogonal.sample = failing
    kind, words = (RuntimeError, "no factorization") if dist.get_rank() == 1 else (ShardError, "Another rank")
    try:
        refuses(kind, words, lambda: xn.apply(plan, model, seed=0))
    finally:
        schemes.Orthogonal.sample = sample
    require_untouched(model, before)


def a_plan_for_another_model(world):
    model = by_fsdp(world)
    before = held(model)
    other = xn.plan(nn.Linear(4, 2), "he", example=torch.zeros(1, 4))
    refuses(StalePlanError, "another FSDPTransformer", lambda: xn.apply(other, model, seed=0))
    require_untouched(model, before)


def gates_come_before_sharding(world):
    plan = planned("rezero")
    model = by_fsdp(world)
    refuses(InvalidValueError, "which is sharded", lambda: xn.apply(plan, model, seed=0))
    assert not any("gate" in name for name, _ in model.named_parameters())
    assert xn.apply(planned(), model, seed=0).written


def torch_deals_out_copies(world):
    """What PyTorch's own initialization does on a CPU mesh: every shard is the same numbers."""
    weight = empty((world, 6), init_device_mesh("cpu", (world,)), [Shard(0)])
    torch.manual_seed(0)
    nn.init.normal_(weight)
    full = gathered(weight)
    assert torch.linalg.matrix_rank(full) == 1, "PyTorch draws shards apart now: tell users of both"


def saved(world):
    """Written and saved by some processes ..."""
    from torch.distributed.checkpoint import save

    model = by_fsdp(world)
    xn.apply(planned(overrides=OVERRIDES), model, seed=5)
    save(model.state_dict(), checkpoint_id=Path(sys.argv[3]) / "checkpoint")


def loaded(world):
    """... and loaded by others, who find what a process by itself writes."""
    from torch.distributed.checkpoint import load

    model, single = by_fsdp(world), Transformer()
    state = model.state_dict()
    load(state, checkpoint_id=Path(sys.argv[3]) / "checkpoint")
    model.load_state_dict(state)
    applied = xn.apply(planned(overrides=OVERRIDES), single, seed=5)
    assert xn.survived(applied, model).intact
    for name, parameter in single.named_parameters():
        assert same_bits(gathered(model.get_parameter(name)), parameter), name


def pieces_share_memory(world):
    """A piece is no copy: what is written to it is in the parameter."""
    weight = empty((14, 6), init_device_mesh("cpu", (world,)), [_StridedShard(0, split_factor=2)])
    for number, (view, _) in enumerate(pieces(weight)):
        view.fill_(float(number))
    assert not weight.to_local().isnan().any()


CASES = {
    **{f"1-D mesh, {name}": lambda world, name=name: one_dim(world, name) for name in ONE_DIM},
    **{f"2-D mesh, {name}": lambda world, name=name: two_dims(world, name) for name in TWO_DIMS},
}
CASES |= {
    function.__name__.replace("_", " "): function
    for function in (
        a_mesh_out_of_order,
        a_mesh_of_some_ranks,
        float64_shards,
        many_owners,
        flat_shards,
        the_first_fsdp,
        local_schemes_wait_for_nobody,
        fsdp,
        fsdp_of_replicas,
        fsdp_bfloat16,
        fsdp_and_tensor_parallel,
        after_a_forward_pass,
        from_meta,
        one_rank_refuses,
        ranks_differ,
        one_rank_fails_half_way,
        the_owner_fails,
        a_plan_for_another_model,
        gates_come_before_sharding,
        torch_deals_out_copies,
        pieces_share_memory,
    )
}
CHECKPOINT = {"saved": saved, "loaded": loaded}


def main(rank, world, folder, names):
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet-{world}",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=20),
    )
    failures = {}
    for number, name in enumerate(names):
        try:
            (CASES | CHECKPOINT)[name](world)
        except Exception:
            failures[name] = traceback.format_exc()
            failures |= dict.fromkeys(names[number + 1 :], f"not run: ranks may have parted in '{name}'")
            break
    (Path(folder) / f"rank-{rank}.json").write_text(json.dumps(failures))
    if not failures:
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
