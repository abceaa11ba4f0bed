"""What the loop keeps beside the engine, all of it in the state."""

from dataclasses import dataclass, field

from streammeta.state.progress import NOTHING, Tally
from streammeta.state.standing import Standing


@dataclass(slots=True)
class Ledger:
    """Positions and counts.

    Attributes:
        positions: Partition -> next offset.
        refused: Reason -> records set aside.
        since_checkpoint: Records applied since the last checkpoint.
        topic_id: The identity of the topic that the positions belong to; "" while unknown.
        tally: Records taken, and what expired of examples.
        learned: Events learned from, up to the record that is told of.
        standing: Where the state stands in a group of ranks; None when it learns alone.
    """

    positions: dict[int, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    since_checkpoint: int = 0
    topic_id: str = ""
    tally: Tally = NOTHING
    learned: int = 0
    standing: Standing | None = None
