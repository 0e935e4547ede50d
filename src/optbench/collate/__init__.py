"""Collates, which make a batch of rows, one file each; reached through conf/collate/."""
