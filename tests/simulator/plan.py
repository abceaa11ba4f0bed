"""What a seed stands for: the stream, the settings, and what befalls broker, disk and process, and when."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "write",  # records of one task
    "transaction",  # records of one task in a transaction that commits, or aborts
    "freeze",
    "down",
    "refuse",
    "throttle",
    "leaderless",
    "letters_down",  # the dead-letter topic has no leader
    "expire",
    "compact",
    "grow",
    "remake",
    "disk_full",
    "flip_log",
    "flip_store",
    "keep_copy",
    "stop",  # SIGTERM
    "kill",  # SIGKILL after so many moments
    "withhold",  # the broker does not give what it says it has: for so many seconds; -1, -2: for ever
    "kill_writing",  # SIGKILL at the so manyth moment before or after a write
    "power_cut",  # as kill, with the machine
]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens: at so many seconds, with a number that says how long, how many, or where."""

    at: float
    kind: Kind
    number: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A world's fate.

    Attributes:
        batch: Events of an iteration.
        partitions, tasks: Of the topic.
        cache_tasks, checkpoint_events: The state's settings.
        on_lost: What is done about records that the log no longer holds.
        lossy: Retention and compaction take records that were not learned from, or the topic is made again.
        compiled_looks: Looks until the compiled step is there; 0: none is made.
        real: MOML learns, instead of the learner whose numbers plain Python knows too.
        recorded: A flight recorder goes along, on a real disk.
        on_corrupt: What is done about what the broker does not give.
        odd: Some records come without content, kill who tries them, or are sent again.
        steps: What happens, by time.
    """

    seed: int
    batch: int
    partitions: int
    tasks: int
    cache_tasks: int
    checkpoint_events: int
    on_lost: Literal["fail", "earliest"]
    lossy: bool
    compiled_looks: int
    real: bool = False
    recorded: bool = False
    on_corrupt: Literal["fail", "skip"] = "fail"
    odd: bool = False
    steps: tuple[Step, ...] = field(default=())

    @property
    def ends_at(self) -> float:
        """When the last of it is over."""
        return max(step.at + (max(0.0, step.number) if step.kind in _LASTING else 0.0) for step in self.steps)

    def __str__(self) -> str:
        """A line for each step."""
        lines = [f"  {step.at:7.2f} s  {step.kind} {step.number:g}" for step in self.steps]
        facts = [f"{name} {getattr(self, name)}" for name in self.__slots__ if name != "steps"]
        return "\n".join([", ".join(facts), *lines])


_LASTING: tuple[Kind, ...] = (
    *("freeze", "down", "refuse", "throttle", "leaderless", "letters_down", "disk_full", "withhold"),
)
SECONDS = 24.0
"""In which it happens."""

_LENGTHS: dict[Kind, Callable[[random.Random], float]] = {
    "freeze": lambda draws: draws.choice((0.5, 3.0, 12.0, 30.0)),
    "down": lambda draws: draws.choice((0.5, 4.0, 15.0, 45.0)),
    "refuse": lambda draws: draws.choice((1.0, 8.0, 20.0, 80.0)),
    "throttle": lambda draws: draws.choice((2.0, 10.0)),
    "leaderless": lambda draws: draws.choice((2.0, 15.0)),
    "letters_down": lambda draws: draws.choice((1.0, 8.0, 25.0, 40.0)),
    "disk_full": lambda draws: draws.choice((1.0, 6.0, 15.0)),
    "withhold": lambda draws: draws.choice((3.0, 12.0, 25.0, -1.0, -1.0, -2.0)),
    "kill": lambda draws: draws.choice((draws.randint(1, 60), draws.randint(1, 600))),
    "kill_writing": lambda draws: draws.randint(1, 16),
    "power_cut": lambda draws: draws.choice((draws.randint(1, 60), draws.randint(1, 600))),
}
_USUAL: tuple[Kind, ...] = (
    *("kill",) * 8,
    *("freeze", "down") * 2,
    *("stop", "refuse", "throttle", "leaderless", "grow", "keep_copy"),
)
_RARE: tuple[Kind, ...] = (
    "power_cut",
    "power_cut",
    "disk_full",
    "flip_log",
    "flip_store",
    "expire",
    "compact",
)


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    draws = random.Random(seed)
    lossy = draws.random() < 0.12
    rare = draws.random() < 0.4
    kinds = (*_USUAL, *(_RARE if rare else ()))
    steps = [_written(draws) for _ in range(draws.randint(4, 12))]
    steps += [_step(draws, draws.choice(kinds)) for _ in range(draws.randint(1, 8))]
    if lossy:
        steps.append(_step(draws, draws.choice(("remake", "expire", "expire", "compact"))))
        steps += _unseen(steps[-1], random.Random(f"unseen {seed}"))
    steps += _more(random.Random(f"more of {seed}"))
    withheld = random.Random(f"withheld {seed}")
    whole = not lossy and all(step.kind != "flip_store" for step in steps)
    batch = draws.choice((1, 1, 1, 3))
    real = draws.random() < 0.04
    if not lossy and not real and withheld.random() < 0.08:
        steps += [_step(withheld, "withhold") for _ in range(withheld.randint(1, 2))]
    return Plan(
        seed=seed,
        batch=batch,
        partitions=draws.randint(1, 3),
        tasks=draws.randint(2, 6),
        cache_tasks=draws.randint(2, 4),
        checkpoint_events=draws.randint(2, 9),
        on_lost="earliest" if lossy else "fail",
        lossy=lossy,
        compiled_looks=draws.randint(1, 12) if batch == 1 and not real and draws.random() < 0.4 else 0,
        real=real,
        recorded=whole and random.Random(f"recorded {seed}").random() < 0.02,
        on_corrupt=withheld.choice(("fail", "skip")),
        odd=not real and random.Random(f"odd plan {seed}").random() < 0.1,
        steps=tuple(sorted(steps, key=lambda step: (step.at, step.kind, step.number))),
    )


def _unseen(last: Step, draws: random.Random) -> list[Step]:
    """Half of the topics that are made again are so while the broker hangs, and soon hold as many records."""
    if last.kind != "remake" or draws.random() < 0.5:
        return []
    frozen = Step(last.at - draws.uniform(1.0, 3.0), "freeze", draws.uniform(3.5, 6.0))
    return [frozen, *(Step(last.at + draws.uniform(0.0, 0.4), "write", 6) for _ in range(4))]


def _more(draws: random.Random) -> list[Step]:
    """In 1 of 4 worlds letters cannot be written for a while, and who waits for them may be killed.

    In 1 of 4 others processes are killed between writes.
    """
    chance = draws.random()
    if 0.25 < chance <= 0.5:
        return [_step(draws, "kill_writing") for _ in range(3)]
    if chance > 0.5:
        return []
    down = _step(draws, "letters_down")
    return [down, Step(down.at + draws.uniform(0.0, down.number), "kill", draws.randint(1, 200))]


def _written(draws: random.Random) -> Step:
    """Some records; a third of them before the first life."""
    at = draws.choice((0.0, draws.uniform(0, SECONDS), draws.uniform(0, SECONDS)))
    kind: Kind = "transaction" if draws.random() < 0.25 else "write"
    return Step(at, kind, draws.randint(1, 6))


def _step(draws: random.Random, kind: Kind) -> Step:
    length = _LENGTHS.get(kind)
    return Step(draws.uniform(0.1, SECONDS), kind, length(draws) if length else draws.randrange(1000))
