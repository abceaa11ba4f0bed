"""The sales of the README's example: shops of different sizes, prices and tastes."""

from pathlib import Path

import numpy as np


def write_sales(path: Path, *, shops: int = 40, days: int = 80, seed: int = 0) -> Path:
    """A row a shop and day, day by day; sold rises with the visitors and falls with the price."""
    draws = np.random.default_rng(seed)
    size, price = draws.uniform(50, 500, shops), draws.uniform(2, 60, shops)
    taste, habit = draws.uniform(0.3, 1.5, shops), draws.uniform(0.1, 0.6, shops)
    lines = ["shop,day,price,visitors,sold"]
    for day in range(days):
        date = np.datetime64("2024-01-01") + day
        for shop in range(shops):
            visitors = size[shop] * draws.uniform(0.6, 1.4)
            cost = price[shop] * draws.uniform(0.8, 1.2)
            sold = (
                habit[shop] * visitors * (cost / price[shop]) ** -taste[shop]
                + 0.02 * size[shop] * draws.normal()
            )
            lines.append(f"shop-{shop},{date},{cost:.2f},{visitors:.0f},{max(0, sold):.0f}")
    path.write_text("\n".join(lines) + "\n")
    return path
