"""Reads any ``nn.Module`` into a ``Structure``."""

__all__: list[str] = []
