"""Loss surfaces: pure batched functions that carry their own truth."""
