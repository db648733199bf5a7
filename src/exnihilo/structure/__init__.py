"""Reads any ``nn.Module`` into a ``Structure``: ``exnihilo.structure.reader.read``; the records need no torch."""
