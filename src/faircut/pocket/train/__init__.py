"""Train the pocket model, with ``train(config, stages)`` or ``faircut pocket train``."""

from faircut.pocket.train.config import TrainConfig, load_config
from faircut.pocket.train.stages import STAGES, train

__all__ = ["STAGES", "TrainConfig", "load_config", "train"]
