"""Where runs stop: the critical point that each last iterate belongs to, by one rule for runs and basins."""
