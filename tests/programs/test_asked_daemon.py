"""A daemon that is asked while it learns: it answers from its commits, and learns the same."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from streammeta.library.states import Homes
from streammeta.programs.daemon import run_daemon
from tests.library.test_same_bits import bits
from tests.programs.test_daemon import (
    EventfulSource,
    config_of,
    connected_to,
    script,
)

ASKED = [{"task": f"task-{number}", "x": [[0.5, 1.0], [1.5, -2.0]]} for number in range(4)]
SUPPORT = {"x": [[1.0, 2.0]], "y": [[3.0]]}


Answers = list[dict[str, Any]]


def learned(folder: Path, *, asking: bool) -> tuple[tuple[object, ...], Answers, Answers]:
    """What a life of 40 events comes to, and what was answered on the way: before each poll, and beside."""
    folder.mkdir()
    config = config_of(folder, "state.checkpoint_events=4")
    addresses: list[str] = []
    before: Answers = []
    meanwhile: Answers = []
    over = threading.Event()

    def ask(answers: Answers) -> None:
        body = [*ASKED, *({**one, "support": SUPPORT} for one in ASKED)]
        answer = httpx.post(f"{addresses[0]}/api/v1/predict", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        answers.extend(answer.json())

    def go_on() -> None:
        with suppress(httpx.TransportError):  # the port closes at the end
            while not over.is_set():
                ask(meanwhile)

    beside = threading.Thread(target=go_on)

    def at_poll(poll: int) -> None:
        if asking:
            ask(before)
            if poll == 1:
                beside.start()

    source = EventfulSource(script(40), lambda: 4, at_poll=at_poll)
    try:
        run_daemon(
            config,
            read_config=lambda: config,
            connect=connected_to(source),
            until_end=True,
            on_serving=addresses.append,
        )
    finally:
        over.set()
        if asking:
            beside.join()
    return bits(Homes().read(config.state.dir)), before, meanwhile


def test_nothing_that_is_asked_changes_what_is_learned(tmp_path: Path) -> None:
    """The same bits; the answers follow the commits, and each list is of one of them."""
    wanted, *none = learned(tmp_path / "alone", asking=False)
    found, before, meanwhile = learned(tmp_path / "asked", asking=True)
    assert found == wanted
    assert none == [[], []]
    for answers in (before, meanwhile):
        events = [answer["events"] for answer in answers]
        assert events == sorted(events)
        assert all(len(set(events[at : at + 8])) == 1 for at in range(0, len(events), 8))
    assert len({answer["events"] for answer in before}) >= 4  # which commits, the writer's thread decides
    first, *_, last, supported = [answer for answer in before if answer["task"] == "task-0"]
    assert (first["at"], last["at"], supported["at"]) == ("meta", "memory", "adapted")
