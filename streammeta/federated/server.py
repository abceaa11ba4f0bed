"""The Flower `ServerApp`: the state directory, the port, and then the rounds."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.federated.book import Book
from streammeta.federated.calling import Caller
from streammeta.federated.rounds import Report, Rounds
from streammeta.federated.settings import Federation, blueprint_of, check_algorithm, document_of, of_server
from streammeta.federated.watching import Watchers, serve
from streammeta.models.constants import constants_of
from streammeta.runtime.controls import Controls
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp


def server_app(
    config: Config,
    federation: Federation,
    *,
    controls: Controls | None = None,
    on_serving: Callable[[str], None] = lambda _: None,
    on_end: Callable[[Report], None] = lambda _: None,
    clock: Clock | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> "ServerApp":
    """A Flower `ServerApp` that makes rounds until it has made enough, or is told to stop.

    Its state is in `[state] dir`, and it goes on from there; the metrics and the live page are on the port of
    `[http]`.

    Args:
        config: `[model]`, `[algorithm]` (local_moml or per_fedavg), `[outer]`, `[state]` and `[http]`.
        federation: How rounds are made.
        controls: Asks it to stop; looked at between and within rounds.
        on_serving: Told the HTTP address.
        on_end: Told what came of it.
        clock: Time.
        pause: Waits so many seconds.

    Raises:
        ConfigError: the settings are none that a federation can compute with.
    """
    from flwr.serverapp import ServerApp

    check_algorithm(config)
    app = ServerApp()

    @app.main()
    def main(grid: "Grid", _context: "Context") -> None:
        asked, now = controls or Controls(), clock or Clock()
        with ExitStack() as stack:
            rounds = _opened(config, federation, grid, asked, now, pause, stack, on_serving)
            on_end(rounds.run())

    return app


def _opened(
    config: Config,
    federation: Federation,
    grid: "Grid",
    controls: Controls,
    clock: Clock,
    pause: Callable[[float], None],
    stack: ExitStack,
    on_serving: Callable[[str], None],
) -> Rounds:
    """State, observers and port, closed with the stack."""
    mine = of_server(config)
    directory = stack.enter_context(StateDirectory(config.state.dir))
    store = stack.enter_context(closing(LmdbStore(directory.lmdb_path)))
    blueprint = blueprint_of(document_of(mine))
    constants = constants_of(blueprint.network.module)
    book = Book.open(blueprint, store, identity(config, federation))
    book.begun = replace(book.begun, origin=replace(blueprint.origin, constants=constants.hash))
    watchers = Watchers.of(mine, book, store, clock)
    stack.callback(watchers.status.stop)
    stack.callback(watchers.lines.end)
    address = serve(mine, stack, watchers, store)
    structlog.get_logger().info("serving", address=address, state=str(config.state.dir), round=book.number)
    on_serving(address)
    return Rounds(
        federation=federation,
        book=book,
        store=store,
        caller=Caller(grid, clock, pause, lambda: not controls.stop),
        watchers=watchers,
        curves=lambda: watchers.curves(mine),
        clock=clock,
        constants=None if store.constants() else constants,
    )


def identity(config: Config, federation: Federation) -> str:
    """What must stay the same for the rounds to go on as they began, beside the model and the algorithm."""
    silo = getattr(config.algorithm, "keep_memory", False)
    words = (
        federation.data or "clients",
        f"seed {federation.seed}",
        f"fraction {federation.fraction:g}",
        "memory kept" if silo else "no memory kept",
        f"outer.lr {config.outer.lr:g}",
    )
    return ", ".join(words)


def state_of(directory: Path) -> Path:
    """Where simulated clients keep their memories beside the server's state: each would on its own disk."""
    return directory / "clients"
