"""The numerical search, which can miss points and says so, and one point looked at closely."""
