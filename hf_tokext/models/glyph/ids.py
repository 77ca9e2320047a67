"""Ids of characters."""

CHARACTERS = 0x10000  # code points of the BMP, each its own id; markers follow
