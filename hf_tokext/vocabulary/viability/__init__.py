"""Viability: which ids may follow so that a sequence stays the beginning of some text's encoding."""
