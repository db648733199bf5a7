"""Rows of tables that are never trained: those that stand for padding."""

from torch import nn

from exnihilo.probes.records import PaddingRow
from exnihilo.probes.statistics import rms_of
from exnihilo.structure.names import canonical_names


def padding_rows(model: nn.Module) -> tuple[PaddingRow, ...]:
    """The padding row of each table that has one and is trained.

    Example:
        >>> [row.size for row in padding_rows(nn.Embedding(5, 2, padding_idx=0))]
        [0.0]
    """
    canonical = canonical_names(model)
    found: dict[str, PaddingRow] = {}
    for path, module in model.named_modules():
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag) or module.padding_idx is None:
            continue
        table = module.weight
        if not isinstance(table, nn.Parameter) or not table.requires_grad or table.is_meta:
            continue
        name = canonical[f"{path}.weight" if path else "weight"]
        values = table.detach()
        row = PaddingRow(
            parameter=name,
            row=module.padding_idx,
            size=rms_of(values[module.padding_idx].float()),
            others=rms_of(values.float()),
        )
        found.setdefault(name, row)
    return tuple(found.values())
