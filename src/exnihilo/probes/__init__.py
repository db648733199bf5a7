"""Read-only measurements on a model: what holds at its start."""

from exnihilo.probes.identity import certify

__all__ = ["certify"]
