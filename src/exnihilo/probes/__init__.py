"""Read-only measurements on a model; their records need no torch."""
