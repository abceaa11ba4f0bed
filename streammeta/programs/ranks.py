"""What `run` does as one rank of several that `torchrun` started."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import structlog
import torch

from streammeta.config import Config
from streammeta.distributed.place import Place
from streammeta.distributed.torch_group import join
from streammeta.errors import Interrupted
from streammeta.observe.health import Health
from streammeta.runtime.controls import Controls
from streammeta.runtime.uniting import Member
from streammeta.stream.base import DeadLetters, Source
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.source import KafkaSource
from streammeta.stream.share import Share


@dataclass
class Ranks:
    """The group, seen from this rank.

    Attributes:
        share: Of the topic.
    """

    place: Place
    share: Share

    @classmethod
    def at(cls, place: Place) -> "Ranks":
        """At this place."""
        return cls(place, Share(place.rank, place.world))

    def connect(self, config: Config, keep_going: Callable[[], bool]) -> tuple[Source, DeadLetters]:
        """As `connect_kafka`, for the partitions of this rank."""
        return (
            KafkaSource(config.kafka, keep_going=keep_going, share=self.share),
            KafkaDeadLetters(config.kafka, keep_going=keep_going),
        )

    def join(self, stack: ExitStack, config: Config, controls: Controls, health: Health) -> Member:
        """Come together with the others; left with the stack.

        Raises:
            GroupLost: they did not come.
            Interrupted: asked to stop meanwhile.
        """

        def missing(_ranks: Sequence[int]) -> None:
            if controls.stop:
                raise Interrupted("asked to stop while the group came together")

        device = torch.device(config.model.device)
        group = join(config.distributed.timeout_seconds, device, missing, lambda: health.live()[0])
        stack.callback(group.close)
        structlog.get_logger().info("group", rank=group.rank, world=group.world)
        return Member(group, self.share)
