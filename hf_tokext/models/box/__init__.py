"""Boxes and points in pictures as tokens."""
