"""LocalMOML against Per-FedAvg over clients, run short."""

from streammeta.reproduce.sinewave.rounds import federated
from tests.reproduce.quiet import quiet


def test_local_moml_is_not_per_fedavg() -> None:
    """Each method in both places learns, and they differ; a curve a row, each as many rounds."""
    report = federated(quiet, shots=(1,), rates=(0.005,), seeds=2, rounds=20)
    assert [(row.method, row.setting) for row in report.rows] == [
        (f"{name}, η = 0.005", f"K = 1, {where}")
        for where in ("devices", "silos")
        for name in ("local_moml", "per_fedavg")
    ]
    losses = [row.measured[0].mean for row in report.rows]
    assert len({*losses}) == 4
    assert max(losses) < 6
    for panel in report.panels:
        assert [curve.x[-1] for curve in panel.curves] == [20, 20]
