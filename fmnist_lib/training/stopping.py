"""When a run has seen enough, and which of its epochs is kept."""

import copy
from dataclasses import dataclass, field

from torch import Tensor, nn

from fmnist_lib.runs.config import LAST, Stop

Row = dict[str, float | int]  # of one epoch: losses per image, accuracies in percent, times


@dataclass
class EarlyStopping:
    """One stopping rule at work: keeps the weights of its best epoch until it fires."""

    rule: Stop
    best_loss: float = float("inf")
    best_epoch: int = 0
    last_epoch: int = 0
    fired: bool = False
    weights: dict[str, Tensor] = field(default_factory=dict)

    def update(self, row: Row, model: nn.Module) -> None:
        """Take one epoch into account; a rule that has fired ignores what comes after."""
        if self.fired:
            return
        self.last_epoch = int(row["epoch"])
        fixed = self.rule.monitor == LAST
        if fixed or row[self.rule.monitor] < self.best_loss:
            self.best_loss = row["train_loss" if fixed else self.rule.monitor]
            self.best_epoch = self.last_epoch
            self.weights = copy.deepcopy(model.state_dict())
        waited = self.last_epoch if fixed else self.last_epoch - self.best_epoch
        self.fired = waited >= self.rule.patience

    @property
    def state(self) -> dict:
        """All but the rule, for a checkpoint."""
        return {name: value for name, value in vars(self).items() if name != "rule"}
