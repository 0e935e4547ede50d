"""Surfaces, boxes and points as users type them."""
