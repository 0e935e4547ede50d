"""Losses: (outputs, target) to one value per row."""
