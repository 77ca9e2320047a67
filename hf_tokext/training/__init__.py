"""Training: healing what a change of vocabulary broke, and codecs of files."""

from hf_tokext.training.checkpoint import heal_checkpoint
from hf_tokext.training.heal import heal_model
from hf_tokext.training.recovery import HealReport, RecoveryPoint

__all__ = ["HealReport", "RecoveryPoint", "heal_checkpoint", "heal_model"]
