"""A federation on this machine: Flower's simulation engine runs server and clients, Ray their processes."""

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from streammeta.config import Config
from streammeta.errors import ConfigError, StreammetaError
from streammeta.federated.client import client_app
from streammeta.federated.rounds import Report
from streammeta.federated.server import server_app, state_of
from streammeta.federated.settings import ClientOf, Federation, check_algorithm
from streammeta.observe.logs import configure_logging
from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to

OBJECT_STORE_BYTES: Final = 80_000_000
"""What Ray may keep of messages: they are small, and its own choice is a third of the machine's memory."""
_QUIET: Final = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Nothing is told to the makers of Flower and Ray, whatever the environment says."""


class Nodes(NamedTuple):
    """Who is simulated: the number of nodes, of processes that compute for them, and their clients."""

    number: int
    processes: int
    client_of: ClientOf


def require_flower() -> None:
    """Refuse before anything else where Flower or Ray are missing, and keep both from telling anything.

    Raises:
        ConfigError: names the extra.
    """
    missing = [name for name in ("flwr", "ray") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"a federation needs {' and '.join(missing)}; install the extra: "
            "pip install 'streammeta[federated]'"
        )
    os.environ.update(_QUIET)


def simulate(
    config: Config,
    federation: Federation,
    nodes: Nodes,
    *,
    on_serving: Callable[[str], None] = lambda _: None,
) -> Report:
    """Make rounds on Flower's simulation engine until there are enough, time is up, or a signal says stop.

    The server's state is in `[state] dir`; each client keeps its memory, if it keeps one, in a file of its
    own below it. Killed and started again it goes on with the round that was under way.

    Raises:
        ConfigError: Flower is missing; a setting is wrong.
        StateError: the state was made with other settings.
    """
    require_flower()
    check_algorithm(config)
    import ray
    from flwr.simulation import run_simulation

    configure_logging(config.log.level, config.log.format)
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # what matters of it, we tell
    controls, reports = Controls(), list[Report]()
    server = server_app(config, federation, controls=controls, on_serving=on_serving, on_end=reports.append)
    client = client_app(nodes.client_of, config, memories=state_of(Path(config.state.dir)))
    _start(ray, nodes.processes)
    try:
        # Ray's own handlers were set when it started: ours come after.
        with signals_to(controls), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            run_simulation(server, client, nodes.number, backend_config=_backend())
    finally:
        ray.shutdown()
    if not reports:
        raise StreammetaError("the federation ended without a report; see the log")
    structlog.get_logger().info("stopped", rounds=reports[0].rounds, dropped=reports[0].dropped)
    return reports[0]


def _start(ray: Any, processes: int) -> None:
    """Ray, with processes enough and no more memory than it needs."""
    ray.init(
        num_cpus=processes,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
        configure_logging=False,
        runtime_env={"env_vars": {**_QUIET, "PYTHONPATH": _path()}},
    )


def _path() -> str:
    """Where this package, and what it was started with, is found."""
    places = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))
    return os.pathsep.join(filter(None, places))


def _backend() -> dict[str, dict[str, Any]]:
    return {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
