"""Optimizers that torch lacks, and the book's own forms."""
