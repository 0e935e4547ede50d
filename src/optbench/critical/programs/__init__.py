"""A surface as a program: what its torch code computes, written down once as operations that any arithmetic can run."""
