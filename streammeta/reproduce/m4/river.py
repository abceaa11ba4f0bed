"""River's linear regression, a model per series: what an online-learning library makes of the same examples.

As the networks do, it learns the correction to what was a day ago, and on windows standardised by their past.
"""

from collections import Counter
from typing import Any, Final

from streammeta.datasets.table import Rows
from streammeta.errors import ConfigError
from streammeta.reproduce.m4.forecasts import Forecasts
from streammeta.reproduce.m4.stream import TOLD_EVERY, Told, examples_of
from streammeta.reproduce.m4_network import HOURS

RATE: Final = 0.0003
LEVEL_RATE: Final = 0.5
"""Of the intercept."""
SETTING: Final = f"SGD {RATE:g}, intercept {LEVEL_RATE:g}"


def require_river() -> None:
    """Refuse before minutes of work.

    Raises:
        ConfigError: River is not installed.
    """
    try:
        import river  # noqa: F401 - is it there?
    except ImportError as error:
        raise ConfigError(
            "the method river needs River; install it: pip install 'streammeta[reproduce]', or name --methods"
        ) from error


def learn_by_river(rows: Rows, forecasts: Forecasts, tell: Told) -> None:
    """Forecast each example of the stream, then learn from it."""
    models: dict[str, Any] = {}
    numbers: Counter[str] = Counter()
    total = len(rows.targets) - HOURS * len(set(rows.tasks))
    for done, example in enumerate(examples_of(rows), 1):
        window, target = example.examples.x[0].tolist(), example.examples.y.item()
        if example.task not in models:
            models[example.task] = _model()
        model = models[example.task]
        inputs = dict(enumerate(window))
        forecasts.put(example.task, numbers[example.task], window[0] + model.predict_one(inputs))
        numbers[example.task] += 1
        model.learn_one(inputs, target - window[0])
        if done % TOLD_EVERY == 0 or done == total:
            tell(done, total)


def _model() -> Any:
    from river.linear_model import LinearRegression
    from river.optim import SGD
    from river.preprocessing import StandardScaler

    return StandardScaler() | LinearRegression(optimizer=SGD(RATE), intercept_lr=LEVEL_RATE)
