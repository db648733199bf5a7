"""The article's claims, one file each; ``exnihilo.claims.catalog`` lists them all."""

import importlib as _importlib
from typing import Any as _Any


def __getattr__(name: str) -> _Any:
    # On first use and not on import: the records of this package are read where torch is not.
    if name not in ("CLAIMS", "claims_named"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(_importlib.import_module("exnihilo.claims.catalog"), name)
