"""What a model's constructor writes, followed without drawing: regions of memory, laws, and operations on both."""
