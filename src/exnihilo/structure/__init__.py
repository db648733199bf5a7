"""Reads any ``nn.Module`` into a ``Structure``."""

from exnihilo.structure.reader import read

__all__ = ["read"]
