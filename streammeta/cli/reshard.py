"""`streammeta state`: a group's state made one of another number of ranks."""

import json
from pathlib import Path
from typing import Any

import click

from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.distributed.resharding.comparing import Resharded
from streammeta.distributed.resharding.moving import reshard as move
from streammeta.runtime.blueprint import learner_of


@click.group()
def state() -> None:
    """Move a state to another number of ranks."""


@state.command()
@click.option(
    "--from",
    "origin",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A group's state.dir, with rank-0 and so on in it; or that of a single process.",
)
@click.option(
    "--to", "target", metavar="DIR", required=True, type=click.Path(path_type=Path), help="A new directory."
)
@click.option(
    "--world", type=click.IntRange(min=1), required=True, help="How many ranks; 1: a single process."
)
@click.option(
    "--partitions", type=click.IntRange(min=1), help="Of the topic now; default: as many as the state knows."
)
@FORMAT
def reshard(origin: Path, target: Path, world: int, partitions: int | None, form: str) -> None:
    """Write a group's state anew for another number of ranks, or partitions of the topic.

    Stop the group first; --from stays as it is. Every task goes to the rank that reads its partition: that of
    Kafka's own partitioner (murmur2 of the task's id). Where the number of partitions changed, learn all that
    was written before the change first. What was written is read again and compared before --to appears;
    killed, it may be started again.

    Example: streammeta state reshard --from state --to state-4 --world 4
    """
    from streammeta.stream.kafka.partitions import partition_of

    done = move(
        origin,
        target,
        world,
        partitions=partitions,
        partition_of=partition_of,
        merge_of=lambda checkpoint: learner_of(checkpoint).merge,
        said=lambda step: say(step, err=True),
    )
    facts = _facts(target, done)
    if form == "json":
        say(json.dumps(facts))
        return
    for rank in facts["ranks"]:
        read = ", ".join(f"{partition}: {offset}" for partition, offset in rank["positions"].items())
        say(f"rank {rank['rank']}: {rank['tasks']} tasks, {rank['events']} events; offsets {read or 'none'}")
    say(
        f"{target}: world {world} from {facts['from']['world']}, {facts['tasks']} tasks, "
        f"{facts['events']} events, compared: checksum {facts['checksum']}"
    )
    if done.unison.weights:
        shares = ", ".join(f"{weight:.3f}" for weight in done.unison.weights)
        say(f"the round that was open ended here: the mean of the ranks, weights {shares}")
    if not done.by_place:
        say("assumed: producers choose partitions as Kafka's own do, by murmur2 of the key", err=True)


def _facts(target: Path, done: Resharded) -> dict[str, Any]:
    return {
        "to": str(target),
        "from": done.before._asdict(),
        "world": done.after.world,
        "partitions": done.after.partitions,
        "round": done.unison.round,
        "weights": [*done.unison.weights],
        "tasks": sum(rank.tasks for rank in done.ranks),
        "events": sum(rank.events for rank in done.ranks),
        "checksum": f"{done.checksum:016x}",
        "by_partitioner": not done.by_place,
        "ranks": [
            {**rank._asdict(), "positions": {str(p): offset for p, offset in rank.positions.items()}}
            for rank in done.ranks
        ],
    }
