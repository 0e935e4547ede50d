"""Critical points as plain values, and the words for them. No torch here."""
