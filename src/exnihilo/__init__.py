"""exnihilo: start PyTorch networks right, from zero or from anything."""

from exnihilo.version import __version__ as __version__

__all__ = ["__version__"]
