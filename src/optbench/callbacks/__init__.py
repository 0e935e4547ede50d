"""Callbacks, one file each; reached through conf/callback/."""
