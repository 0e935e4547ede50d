"""A result proved once more: in another arithmetic, and as a certificate that a stranger can check."""
