"""Checkpoints on the Hub: model cards from a run's own report, and pushing."""

from hf_tokext.hub.cards import render_card, write_card
from hf_tokext.hub.push import Pushed, push_checkpoint

__all__ = ["Pushed", "push_checkpoint", "render_card", "write_card"]
