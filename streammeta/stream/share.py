"""A rank's share of a topic: the partitions p with p mod world = rank."""

from collections.abc import Iterable
from dataclasses import dataclass

from streammeta.errors import ConfigError, StateError


@dataclass(slots=True)
class Share:
    """Which partitions are read here, and by how many others the topic is read.

    Attributes:
        partitions: Of the topic, as of the beginning; 0 before.
    """

    rank: int = 0
    world: int = 1
    partitions: int = 0

    def of(self, topic: Iterable[int]) -> list[int]:
        """Those of the topic's partitions that are read here, rising.

        Raises:
            ConfigError: there are fewer partitions than ranks.
            StateError: there are more of them than at the beginning: tasks are now in other partitions, and
                their memories with other ranks.
        """
        numbers = sorted(topic)
        if self.world > 1:
            if len(numbers) < self.world:
                raise ConfigError(
                    f"kafka.topic: it has {len(numbers)} partitions, which {self.world} ranks cannot share; "
                    f"start at most {len(numbers)}, or add partitions"
                )
            if self.partitions not in (0, len(numbers)):
                raise StateError(grown(self.partitions, len(numbers), self.world))
        self.partitions = len(numbers)
        return [partition for partition in numbers if partition % self.world == self.rank]


def grown(before: int, now: int, world: int) -> str:
    """Why a state cannot be continued on a topic of another number of partitions, and what mends it."""
    return (
        f"the state was made with {before} partitions of the topic, now there are {now}: tasks are in other "
        "partitions, their memories with other ranks; move them: "
        f"streammeta state reshard --from DIR --to NEW --world {world} --partitions {now}"
    )
