"""River's event: one linear model for all tasks, example by example, as online-learning libraries do."""

from streammeta.benchmarks.peers.problem import Event, Problem


def river_linear(made: Problem) -> Event:
    """`predict_one` then `learn_one` for the 20 examples of an event."""
    from river import linear_model, optim, preprocessing  # of the extra `bench`

    model = preprocessing.StandardScaler() | linear_model.LinearRegression(optim.SGD(0.01))
    rows = [
        [
            ({"x": float(x)}, float(y))
            for batch in episode
            for x, y in zip(batch.x[:, 0], batch.y[:, 0], strict=True)
        ]
        for episode in made.episodes
    ]

    def event(number: int) -> float:
        total = 0.0
        for x, y in rows[number]:
            total += (model.predict_one(x) - y) ** 2
            model.learn_one(x, y)
        return total / len(rows[number])

    return event
