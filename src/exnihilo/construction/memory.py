"""What the memory of tensors holds, storage by storage, where that is not simply its values."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from exnihilo.construction.laws import Content, Draw, Drawn, Filled, Known, Law, Unwritten, one_number, part_of
from exnihilo.construction.regions import Region, are_apart

Part = tuple[Region, Content]


@dataclass(slots=True)
class Storage:
    """The writes to one storage, oldest first; what a later one covers is dropped.

    Args:
        alive: Tells whether a tensor still has the storage; as long as it is held, its address is not given away again.
        writes: Never empty; together they cover the whole.
    """

    alive: StorageWeakRef
    writes: list[Part]

    def write(self, region: Region, content: Content) -> None:
        """Note that a region holds something else from now on."""
        self.writes = [part for part in self.writes if not region.covers(part[0])]
        self.writes.append((region, content))
        first, *above = [part for part, _ in self.writes]
        if sum(part.size for part in above) == first.size and all(map(first.covers, above)) and are_apart(above):
            del self.writes[0]  # nothing of it is bare; where they lie elsewhere, equal sizes say nothing

    @property
    def is_known(self) -> bool:
        """All values are in memory."""
        return all(isinstance(held, Known) for _, held in self.writes)

    def visible(self, region: Region) -> list[Part]:
        """What lies in a region, oldest first, without what is known to lie beneath something else."""
        touching = [part for part in self.writes if not part[0].is_apart(region)]
        covering = [place for place, (written, _) in enumerate(touching) if written.covers(region)]
        return touching[covering[-1] :] if covering else touching

    def parts(self, region: Region) -> tuple[Part, ...] | None:
        """What a region holds: first what covers all of it, then what is written over that; None where writes overlap.

        Parts that lie side by side over all of the region come without what is beneath them.
        """
        visible = self.visible(region)
        first = visible[0][0] if visible else region
        above = visible[1:] if first.covers(region) else visible
        written = [part for part, _ in above]
        if not (visible and all(map(region.covers, written)) and are_apart(written)):
            return None
        if above and sum(part.size for part in written) == region.size:
            return tuple(above)
        return ((region, _part(visible[0][1], first, region)), *above) if first.covers(region) else None


def _part(content: Content, written: Region, region: Region) -> Content:
    """What a region holds of what was written to a larger one."""
    if not isinstance(content, Drawn) or written == region:
        return content
    place = Region(region.start - written.start, region.dims)
    return replace(content, law=part_of(content.law), draw=content.draw.part(place))


@dataclass(slots=True)
class Memory:
    """All storages whose content is not simply their values."""

    storages: dict[int, Storage] = field(default_factory=dict)

    def parts(self, tensor: Tensor) -> tuple[Part, ...] | None:
        """What a tensor holds, in parts of its storage; None where that cannot be said."""
        storage = self._storage(tensor)
        return ((region_of(tensor), Known()),) if storage is None else storage.parts(region_of(tensor))

    def contents(self, tensor: Tensor) -> list[Content]:
        """All that lies in the tensor's memory, oldest first."""
        storage = self._storage(tensor)
        return [held for _, held in storage.visible(region_of(tensor))] if storage else [Known()]

    def is_known(self, tensor: Tensor) -> bool:
        """The tensor's values are in its memory."""
        return all(isinstance(held, Known | Unwritten) for held in self.contents(tensor))

    def is_drawn(self, tensor: Tensor) -> bool:
        """Some of the tensor's values would be drawn."""
        return any(isinstance(held, Drawn) for held in self.contents(tensor))

    def is_unwritten(self, tensor: Tensor) -> bool:
        """Nothing was written to the tensor."""
        return all(isinstance(held, Unwritten) for held in self.contents(tensor))

    def is_kept(self, tensor: Tensor) -> bool:
        """All values of the tensor's storage are in its memory."""
        return self._storage(tensor) is None

    def law(self, tensor: Tensor) -> Law | None:
        """The one law of all the tensor's values; None where there is none."""
        return self.drawn(tensor).law

    def drawn(self, tensor: Tensor) -> Drawn:
        """The one draw that the tensor holds; of several the latest, of no known law."""
        parts = self.parts(tensor)
        if parts is not None and len(parts) == 1 and isinstance(parts[0][1], Drawn):
            return parts[0][1]
        drawn = [held for held in self.contents(tensor) if isinstance(held, Drawn)]
        return replace(drawn[-1], law=None) if drawn else Drawn(None, Draw(0), ())

    def write(self, tensor: Tensor, content: Content, region: Region | None = None) -> None:
        """Note that a tensor, or a region of its storage, holds something else from now on."""
        storage, region = self._storage(tensor), region or region_of(tensor)
        only = one_number(content.law) if isinstance(content, Drawn) else None
        if only is not None:
            content = Filled(only, tensor.dtype)
        if storage is None:
            if isinstance(content, Known):
                return
            whole = Region(0, ((tensor.untyped_storage().nbytes(), 1),))
            storage = Storage(StorageWeakRef(tensor.untyped_storage()), [(whole, Known())])
            self.storages[_address(tensor)] = storage
        storage.write(region, content)
        if storage.is_known:
            self.forget(tensor)

    def forget(self, tensor: Tensor) -> None:
        """All values of the tensor's storage are in its memory."""
        self.storages.pop(_address(tensor), None)

    def fill(self, tensor: Tensor) -> None:
        """Write the numbers that memory of the tensor is to hold."""
        region = region_of(tensor)
        self._fill(tensor, lambda filled: not filled.is_apart(region))

    def settle(self, tensor: Tensor) -> None:
        """Before a tensor is written to: write the numbers that are to lie around it and beneath it."""
        region = region_of(tensor)
        self._fill(tensor, lambda filled: not (filled.is_apart(region) or region.covers(filled)))

    def fill_all(self) -> None:
        """Write the numbers that any storage is to hold which is still in use."""
        for storage in list(self.storages.values()):
            if not storage.alive.expired():
                held = torch.UntypedStorage._new_with_weak_ptr(storage.alive.cdata)  # pyright: ignore[reportPrivateUsage]
                self.fill(torch.empty(0, dtype=torch.uint8, device="cpu").set_(held))

    def _fill(self, tensor: Tensor, is_meant: Callable[[Region], bool]) -> None:
        storage = self._storage(tensor)
        if storage is None:
            return
        for place, (region, content) in enumerate(storage.writes):  # a later one may lie over an earlier one
            if isinstance(content, Filled) and is_meant(region):
                entries(tensor, region, content.dtype).fill_(content.value)
                storage.writes[place] = (region, Known())
        if storage.is_known:
            self.forget(tensor)

    def _storage(self, tensor: Tensor) -> Storage | None:
        return self.storages.get(_address(tensor))


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]  # of the storage, not of its bytes


def region_of(tensor: Tensor) -> Region:
    """The bytes of a tensor in its storage."""
    return Region.of(tensor.shape, tensor.stride(), int(tensor.storage_offset()), tensor.element_size())


def entries(tensor: Tensor, region: Region, dtype: torch.dtype | None = None) -> Tensor:
    """A view of a region of the tensor's storage, in a dtype; by default the tensor's own."""
    dtype = dtype or tensor.dtype
    *outer, (run, _) = region.dims
    sizes = [*(count for count, _ in outer), run // dtype.itemsize]
    strides = [*(step // dtype.itemsize for _, step in outer), 1]
    flat = torch.empty(0, dtype=dtype, device="cpu")
    return flat.set_(tensor.untyped_storage(), region.start // dtype.itemsize, sizes, strides)
