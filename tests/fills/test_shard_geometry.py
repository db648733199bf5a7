"""Which boxes a rank holds, against what PyTorch itself deals out; no process but this one is needed."""

import itertools
import math

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from exnihilo.errors import ShardError
from exnihilo.fills import Box
from exnihilo.fills.shards import boxes, flat_boxes, pieces, runs, share

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this build has no torch.distributed")
if dist.is_available():
    from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor, init_device_mesh
    from torch.distributed.tensor._utils import _compute_local_shape_and_global_offset as offsets_by_torch
    from torch.distributed.tensor.placement_types import _StridedShard
    from torch.testing._internal.distributed.fake_pg import FakeStore


@st.composite
def places(draw):
    """A shape, a mesh, placements and a rank's place; strided ones stand where FSDP puts them, and elsewhere."""
    shape = draw(st.lists(st.integers(1, 13), min_size=1, max_size=3))
    mesh = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    dims = st.integers(0, len(shape) - 1)
    strided = st.builds(lambda dim, rounds: _StridedShard(dim, split_factor=rounds), dims, st.integers(1, 4))
    placement = st.one_of(st.builds(Replicate), st.builds(Shard, dims), strided)
    return shape, mesh, [draw(st.integers(0, n - 1)) for n in mesh], [draw(placement) for _ in mesh]


def dealt_by_torch(whole, mesh, coordinate, placements):
    """What the placements' own code cuts from a tensor, one mesh dim after the other."""
    for size, index, placement in zip(mesh, coordinate, placements, strict=True):
        if not isinstance(placement, Replicate):
            whole = placement._split_tensor(whole, size, with_padding=False)[0][index]
    return whole


def put_together(shape, mesh, coordinate, placements, whole):
    """What the boxes cut from the same tensor, laid out as the runs say."""
    held = runs(shape, mesh, coordinate, placements)
    local = torch.full([sum(map(len, own)) for own in held], -1)
    ends = [list(itertools.accumulate(map(len, own))) for own in held]
    places = itertools.product(*([slice(e - len(r), e) for r, e in zip(o, es)] for o, es in zip(held, ends)))  # noqa: B905
    for place, box in zip(places, boxes(shape, mesh, coordinate, placements), strict=True):
        local[place] = whole[box.slices]
    return local


@given(places())
def test_boxes_hold_what_torch_deals_out(place):
    shape, mesh, coordinate, placements = place
    whole = torch.arange(math.prod(shape)).reshape(shape)
    expected = dealt_by_torch(whole, mesh, coordinate, placements)
    assert torch.equal(put_together(shape, mesh, coordinate, placements, whole), expected)
    local, offset = offsets_by_torch(shape, mesh, coordinate, placements)
    assert local == expected.shape
    found = boxes(shape, mesh, coordinate, placements)
    if found:
        assert found[0].offsets == offset


@given(places())
def test_the_boxes_of_all_ranks_cover_each_element_once_for_each_replica(place):
    shape, mesh, _, placements = place
    counted = torch.zeros(shape, dtype=torch.int64)
    for coordinate in itertools.product(*map(range, mesh)):
        for box in boxes(shape, mesh, coordinate, placements):
            counted[box.slices] += 1
    replicas = math.prod(n for n, placement in zip(mesh, placements, strict=True) if isinstance(placement, Replicate))
    assert (counted == replicas).all()


@given(st.integers(0, 40), st.integers(1, 9))
def test_a_share_is_a_chunk(n, parts):
    chunks = torch.arange(n).chunk(parts) if n else ()
    shares = [list(itertools.chain.from_iterable(share(n, parts, index))) for index in range(parts)]
    assert [own for own in shares if own] == [chunk.tolist() for chunk in chunks if len(chunk)]


@given(st.data())
def test_flat_boxes_are_the_elements_in_their_order(data):
    shape = data.draw(st.lists(st.integers(1, 5), max_size=4))
    numel = math.prod(shape)
    start = data.draw(st.integers(0, numel))
    length = data.draw(st.integers(0, numel - start))
    whole = torch.arange(numel).reshape(shape)
    found = flat_boxes(shape, start, length)
    cut = [whole[box.slices].reshape(-1) for box in found]
    assert torch.cat([torch.empty(0, dtype=torch.int64), *cut]).tolist() == list(range(start, start + length))
    assert len(found) <= max(2 * len(shape) - 1, 1)


def test_flat_elements_beyond_the_tensor_are_refused():
    with pytest.raises(ShardError, match=r"Elements 20 to 25 are not all of a tensor of shape \(4, 6\)"):
        flat_boxes((4, 6), 20, 5)


@pytest.mark.parametrize(
    ("mesh", "coordinate", "placements", "words"),
    [
        ((2,), (0,), ["partial"], "no rank holds its values"),
        ((2,), (0,), ["third"], "divides dim 2 of a tensor that has 2"),
        ((2, 2), (0,), ["rows"], "do not fit a mesh"),
        ((2,), (2,), ["rows"], "do not fit a mesh"),
        ((2, 2), (0, 0), ["rows"], "do not fit a mesh"),
    ],
)
def test_what_does_not_go_together_is_refused(mesh, coordinate, placements, words):
    kinds = {"partial": Partial(), "third": Shard(2), "rows": Shard(0)}
    with pytest.raises(ShardError, match=words):
        boxes((4, 6), mesh, coordinate, [kinds[kind] for kind in placements])


def test_a_plain_tensor_is_one_whole_piece():
    weight = nn.Parameter(torch.zeros(4, 6))
    [(view, box)] = pieces(weight)
    assert view.data_ptr() == weight.data_ptr()
    assert not view.requires_grad
    assert box == Box.whole((4, 6))


@pytest.fixture
def as_rank():
    """Makes this process one rank of a mesh whose other ranks do not exist."""

    def enter(rank, world):
        if dist.is_initialized():
            dist.destroy_process_group()
        dist.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())

    yield enter
    if dist.is_initialized():
        dist.destroy_process_group()


def holds_its_boxes(tensor, whole):
    """Every piece of a DTensor made of ``whole`` is the box of it that is named, and there are no other elements."""
    found = pieces(tensor)
    local = tensor.to_local().detach()
    assert sum(view.numel() for view, _ in found) == local.numel()
    for view, box in found:
        assert torch.equal(view, whole[box.slices])
        assert view.numel() == 0 or view.untyped_storage().data_ptr() == local.untyped_storage().data_ptr()
    return len(found)


THREE_DIMS = [
    ["Shard(0)", "Shard(0)", "Shard(1)"],
    ["Replicate()", "Shard(1)", "Shard(0)"],
    ["Shard(0)", "Shard(0)", "Shard(0)"],
    ["Shard(2)", "Replicate()", "Shard(2)"],
]


@pytest.mark.parametrize("placements", THREE_DIMS, ids=" ".join)
def test_every_rank_of_a_mesh_of_three_dims_finds_its_pieces(as_rank, placements):
    kinds = [eval(text) for text in placements]
    whole = torch.arange(14 * 6 * 5.0).reshape(14, 6, 5)
    for rank in range(12):
        as_rank(rank, 12)
        mesh = init_device_mesh("cpu", (2, 3, 2))
        holds_its_boxes(distribute_tensor(whole, mesh, kinds, src_data_rank=None), whole)


def test_a_strided_shard_alone_lies_in_several_boxes(as_rank):
    whole = torch.arange(60.0).reshape(20, 3)
    counts = []
    for rank in range(4):
        as_rank(rank, 4)
        mesh = init_device_mesh("cpu", (4,))
        placed = [_StridedShard(0, split_factor=3)]
        counts.append(holds_its_boxes(distribute_tensor(whole, mesh, placed, src_data_rank=None), whole))
    assert counts == [3, 3, 3, 2]


@pytest.mark.parametrize("rows", [8, 14, 5, 3])
@pytest.mark.parametrize("style", ["columns", "rows"])
def test_fsdp_over_tensor_parallel_weights_is_followed(as_rank, style, rows):
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    for rank in range(8):
        as_rank(rank, 8)
        # PyTorch keeps meshes of the last rank that this process was; a mesh of other names is not one of them.
        dp, tp = f"dp{rank}", f"tp{rank}"
        mesh = init_device_mesh("cpu", (4, 2), mesh_dim_names=(dp, tp))
        layer = nn.Linear(6, rows)
        with torch.no_grad():
            layer.weight.copy_(torch.arange(6.0 * rows).reshape(rows, 6))
        whole = layer.weight.detach().clone()
        # Without a source each rank cuts its part from its own copy: there is no other rank.
        kind = ColwiseParallel() if style == "columns" else RowwiseParallel()
        parallelize_module(layer, mesh[tp], kind, src_data_rank=None)
        fully_shard(layer, mesh=mesh[dp])
        if style == "columns":
            assert "_StridedShard" in repr(layer.weight.placements)
        holds_its_boxes(layer.weight, whole)


def test_a_rank_outside_of_the_mesh_holds_nothing(as_rank):
    as_rank(5, 6)
    mesh = dist.device_mesh.DeviceMesh("cpu", [0, 1, 2, 3])
    assert pieces(distribute_tensor(torch.zeros(8, 4), mesh, [Shard(0)], src_data_rank=None)) == []


def test_a_shard_of_another_mesh_is_refused(as_rank):
    as_rank(1, 4)
    mesh = init_device_mesh("cpu", (4,))
    torn = DTensor.from_local(torch.zeros(4, 6), mesh, [Shard(0)], shape=torch.Size((8, 6)), stride=(6, 1))
    with pytest.raises(ShardError, match=r"has shape \(4, 6\); placed as .*, a tensor of shape \(8, 6\) has \(2, 6\)"):
        pieces(torn)


def test_shards_in_an_order_that_placements_do_not_tell_are_refused(as_rank):
    from torch.distributed.tensor import _dtensor_spec as specs

    if not hasattr(specs, "ShardOrderEntry"):
        pytest.skip("this release of PyTorch knows no such order")
    as_rank(0, 4)
    mesh = init_device_mesh("cpu", (2, 2))
    order = (specs.ShardOrderEntry(tensor_dim=0, mesh_dims=(1, 0)),)
    meta = specs.TensorMeta(torch.Size((8, 6)), (6, 1), torch.float32)
    spec = specs.DTensorSpec(mesh, (Shard(0), Shard(0)), meta, shard_order=order)
    with pytest.raises(ShardError, match="is divided in the order"):
        pieces(DTensor(torch.zeros(2, 6), spec, requires_grad=False))
