"""Where a start came from: fingerprints of a model's values, manifests that name their origin, and the proof of it."""
