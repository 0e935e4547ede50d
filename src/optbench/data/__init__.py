"""Data sets: images decoded to uint8 once."""
