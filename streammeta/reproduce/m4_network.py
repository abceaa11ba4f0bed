"""The network of the M4 experiment: what was a day ago, and a correction to it.

With window x of 24 hours, m and s its mean and standard deviation, z = (x − m) / s:

    forecast = x₁ + c·b + min(s, 1) · (Σ_k g_k v_k z_k + h · a'relu(Wz + o))

b, v and a begin at 0: an untrained network is the seasonal-naive forecast. One step of rate α on the squared
error moves c·b by 2α c² times what the forecast lacked: the gains c and g say how fast a task's own level and
weights follow its data, and are learned like all else.
"""

import torch
from torch import Tensor, nn

HOURS = 24
HIDDEN_GAIN = 0.1
"""h, which is not learned."""
_LEAST_DEVIATION = 1e-3


class Forecaster(nn.Module):
    """The formula above, for inputs (examples, 24) and forecasts (examples, 1)."""

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.level_gain = nn.Parameter(torch.ones(()))
        self.weight = nn.Parameter(torch.zeros(HOURS))
        self.weight_gain = nn.Parameter(torch.full((HOURS,), gain))
        self.hidden = nn.Linear(HOURS, width)
        self.last = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Forecasts of the hours behind the windows."""
        deviation = x.std(1, unbiased=False, keepdim=True) + _LEAST_DEVIATION
        shape = (x - x.mean(1, keepdim=True)) / deviation
        linear = (shape * (self.weight_gain * self.weight)).sum(1, keepdim=True)
        hidden = HIDDEN_GAIN * self.last(torch.relu(self.hidden(shape)))
        level = self.level_gain * self.level
        forecast: Tensor = x[:, :1] + level + deviation.clamp(max=1.0) * (linear + hidden)
        return forecast


def forecaster(width: int = 16, gain: float = 0.1) -> nn.Module:
    """The network; `width` is that of its hidden layer, `gain` the first value of g."""
    return Forecaster(width, gain)
