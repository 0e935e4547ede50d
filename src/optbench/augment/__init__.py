"""Augmentations, one file each; reached through conf/augment/."""
