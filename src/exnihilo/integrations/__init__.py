"""Where a check meets other programs: pytest, Lightning, Hugging Face's Trainer. Each module needs its own package."""
