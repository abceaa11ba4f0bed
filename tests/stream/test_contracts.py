"""Sources and dead letters without a broker, doubles of the tests among them, keep the contracts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from streammeta.errors import BadEvent
from streammeta.events import Positions, Record
from streammeta.programs.doctor.sample import Sample
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL
from streammeta.recording.source import ReplaySource
from streammeta.stream.base import DeadLetters, Source
from streammeta.stream.generated import GeneratedSource, NoDeadLetters
from tests.contracts.any_source import AnySourceContract, Make
from tests.contracts.dead_letters import DeadLettersContract
from tests.recording.samples import stream, write
from tests.scripted import CollectedDeadLetters, ScriptedSource, make_script
from tests.states import checkpoint_of
from tests.stream.test_generated import records_from


class TestScripted(AnySourceContract):
    """The source of the kill proofs, where it neither delivers again nor pauses."""

    @pytest.fixture
    def make(self) -> Make:
        """Three partitions, offsets with gaps, polls of seven."""
        script = make_script(3, partitions=3, tasks=5, events=40)
        return lambda: ScriptedSource(script, lambda: 7, brought_along=0)


class TestGenerated(AnySourceContract):
    """Records made as they come due; 32 are."""

    @pytest.fixture
    def make(self) -> Make:
        """Each on a clock of its own."""
        return _Due


class _Due(GeneratedSource):
    """On a clock that jumped right after the start, to where the stream's first 32 records are due."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(records_from, 8.0, monotonic=lambda: self.now, sleep=lambda _seconds: None)

    def start(self, positions: Positions, identity: str = "") -> Positions:
        """The clock stands while it starts, then jumps."""
        at = super().start(positions, identity)
        self.now += (32 - at[0]) / 8.0
        return at


class TestReplayed(AnySourceContract):
    """A recording in two parts and a spool."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        """Each over the same recording; a start in its middle goes on there as a state would."""
        rows = stream(40)
        directory = write(tmp_path / "recording", rows[:15], rows[15:30], spooled=rows[30:])
        return lambda: ReplaySource(Recording(directory), ALL)

    def resumed(self, source: Source, positions: Positions) -> Source:
        """A replay skips what a state contains by the state's checkpoint."""
        assert isinstance(source, ReplaySource)
        source.resume(checkpoint_of(positions=positions))
        return source


class TestSample(AnySourceContract):
    """The newest records, that the doctor learns from."""

    @pytest.fixture
    def make(self) -> Make:
        """Three partitions, offsets with gaps; more than one poll."""
        script = make_script(3, partitions=3, tasks=5, events=600)
        return lambda: Sample(script)


class TestCollected(DeadLettersContract):
    """The double of the kill proofs."""

    @pytest.fixture
    def kept_list(self) -> list[tuple[Record, BadEvent]]:
        """What outlives the process."""
        return []

    @pytest.fixture
    def letters(self, kept_list: list[tuple[Record, BadEvent]]) -> DeadLetters:
        """Without danger."""
        return CollectedDeadLetters(kept_list)

    @pytest.fixture
    def kept(self, kept_list: list[tuple[Record, BadEvent]]) -> Callable[[], list[Record]]:
        """From that list."""
        return lambda: [record for record, _ in kept_list]


class TestNone(DeadLettersContract):
    """Those of generated records are made again, so nothing is kept."""

    @pytest.fixture
    def letters(self) -> DeadLetters:
        """Lets go of all."""
        return NoDeadLetters()

    @pytest.fixture
    def kept(self) -> None:
        """Nothing is."""
        return
