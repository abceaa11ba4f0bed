"""`streammeta.Learner`: the daemon's engine in a program or a notebook."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from torch import nn

from streammeta.config import Config
from streammeta.events import Forget, Reset
from streammeta.library.arrays import Set, Values, array_of, batch_of, like
from streammeta.library.handing import Content
from streammeta.library.lesson import Lesson, Taught, lesson_of
from streammeta.library.making import GivenModel, Model, config_for, given, made_config, read_config
from streammeta.library.modules import module_at
from streammeta.library.session import Session
from streammeta.library.showing import frame_of, html_of, picture_of, progressing
from streammeta.library.states import Homes
from streammeta.serving.asking import Ask, At
from streammeta.state.memory_store import MemoryStore

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


Given = tuple[str, Set, Set] | tuple[str, Set, Set, int]
"""An episode: task, support, query; and its time, in milliseconds since 1970, if it is not now."""


class Learner:
    """Learns from events that a program hands it, and predicts; without Kafka, and without files of its own.

    The engine is the daemon's: the same events in the same order come to the same bits. One thread at a time.
    All tasks are held in memory.

    Args:
        model: A `torch.nn.Module` (its parameters are the first ones), what builds one, or the
            "package.module:callable" of that, by which a daemon can go on from the state.
        algorithm: A name of the registry, or the `[algorithm]` table: {"name": "moml", "beta": 0.3}.
        inner_lr: α; None for the table's, or the default.
        loss: mse, cross_entropy, huber, bce, or "package.module:callable".
        outer: The outer optimiser's name, or the `[outer]` table.
        meta_lr: η; None for the table's, or the default.
        args: Arguments of the factory.
        events: Settings of `[events]`: support, query and stride say how `learn_one` cuts episodes.
        drift: The detector's name, or the `[drift]` table; None: drift is not looked for.
        settings: Further tables of the configuration, section by section.

    Raises:
        ConfigError: names each setting that is wrong, its value and the remedy.
    """

    def __init__(
        self,
        model: Model = "streammeta.models:mlp",
        *,
        algorithm: str | Mapping[str, Any] = "moml",
        inner_lr: float | None = None,
        loss: str = "mse",
        outer: str | Mapping[str, Any] = "sgd",
        meta_lr: float | None = None,
        args: Mapping[str, Any] | None = None,
        seed: int = 0,
        dtype: str = "float32",
        events: Mapping[str, Any] | None = None,
        drift: str | Mapping[str, Any] | None = None,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        named = given(model)
        rest = {"engine": {"compile": "off"}, **(settings or {})}
        rest["model"] = {"loss": loss, "seed": seed, "dtype": dtype, **rest.get("model", {})}
        if drift is not None:
            rest["drift"] = {"detector": drift} if isinstance(drift, str) else drift
        config = made_config(
            named,
            args=args,
            algorithm=algorithm,
            inner_lr=inner_lr,
            outer=outer,
            meta_lr=meta_lr,
            events=events,
            rest=rest,
        )
        self._begin(config, named, MemoryStore(), Homes())

    @classmethod
    def from_config(cls, config: Config | str | Path, *, model: Model | None = None) -> Self:
        """A new learner as a daemon's configuration describes it; `model` in place of the one that it names.

        Raises:
            ConfigError: as `streammeta run`.
        """
        read = read_config(config)
        return cls._made(read, given(model or read.model.factory), MemoryStore(), Homes())

    @classmethod
    def load(
        cls,
        directory: str | Path,
        *,
        config: Config | str | Path | None = None,
        model: Model | None = None,
        trust_model: bool = False,
    ) -> Self:
        """A learner that goes on from a state: a daemon's, also while it runs, or one that was saved.

        Args:
            directory: The state directory.
            config: Settings that may differ from the state's (rates, compiled steps); None: the state's.
            model: The model, where the state names one that is not streammeta's own.
            trust_model: Run the factory and the loss that the state names.

        Raises:
            StateError: there is no state, or it does not fit.
            ConfigError: the state names code to run, and nobody's word counts for it.
        """
        homes = Homes()
        held = homes.read(Path(directory))
        named = None if model is None else given(model)
        read = None if config is None else read_config(config)
        settings = config_for(held, read, named=named, trusted=trust_model)
        return cls._made(settings, named or GivenModel(settings.model.factory), held, homes)

    @classmethod
    def _made(cls, config: Config, named: GivenModel, held: MemoryStore, homes: Homes) -> Self:
        learner = cls.__new__(cls)
        learner._begin(config, named, held, homes)
        return learner

    def _begin(self, config: Config, named: GivenModel, held: MemoryStore, homes: Homes) -> None:
        self._session, self._homes = Session(config, held, named.build), homes

    def learn(self, task: str, support: Set, query: Set, *, time_ms: int | None = None) -> Lesson:
        """Learn from one episode: predict the query set, then move the task's memory and the meta-model.

        Args:
            task: The task's id, 1 to 256 bytes of UTF-8.
            support: x and y to adapt on; the first axis counts the examples.
            query: x and y to be judged on.
            time_ms: The event's time in milliseconds since 1970; None: now.

        Raises:
            BadEvent: it cannot be used, or its update would not be finite; nothing is learned from it.
        """
        return self._session.lesson(partial(self._session.event, task, support, query, time_ms))

    def learn_one(self, task: str, x: Values, y: Values, *, time_ms: int | None = None) -> list[Lesson]:
        """Take one labelled example, or several; learn from the episodes that they complete, if any.

        Raises:
            BadEvent: as `learn`; none of the examples is kept.
        """
        rows = self._session.learned(partial(self._session.examples, task, x, y, time_ms))
        return [lesson_of(row) for row in rows]

    def learn_all(
        self,
        episodes: Iterable[Given],
        *,
        progress: bool | None = None,
        each: Callable[[Lesson], None] | None = None,
    ) -> Taught:
        """Learn from many episodes, in their order, at the speed of the daemon's engine.

        Args:
            episodes: (task, support, query), or with time_ms behind, as for `learn`.
            progress: Show a bar; None: where a person looks.
            each: Told of every event that was learned from.
        """
        session = self._session

        def reads() -> Iterator[Callable[[], Content]]:
            for episode in progressing(episodes, "learning", shown=progress):
                yield partial(session.event, *episode)

        return Taught(*session.learned_all(reads(), each and (lambda row: each(lesson_of(row)))))

    def forget(self, task: str) -> bool:
        """Forget all that is kept of the task: memory, statistics, gathered examples; whether there was any.

        Its next event is a first visit. The meta-model keeps what it learned from the task.

        Raises:
            BadEvent: no task can be called so.
        """
        return self._session.change(Forget, task)

    def reset(self, task: str) -> bool:
        """Let the task's next visit count as its first, from the meta-parameters; whether it was not yet.

        Its statistics and gathered examples stay; a task in quarantine is released.

        Raises:
            BadEvent: no task can be called so.
        """
        return self._session.change(Reset, task)

    def predict(self, task: str, x: Values, support: Set | None = None, at: At = "auto") -> Any:
        """The model's output for `x`, a tensor where a tensor was given, else an array.

        Args:
            task: The task.
            x: Inputs; the first axis counts the examples.
            support: x and y to adapt on.
            at: "meta" at w; "memory" at the task's memory; "adapted" to `support`, else to the newest
                examples that `learn_one` has gathered; "auto": adapted where there is something to adapt on,
                else the memory where the task is known, else meta.

        Raises:
            NoAnswer: it cannot be had; names the field and why.
            BadEvent: x or the support set is no tensor of numbers.
        """
        own = None if support is None else batch_of(support, "support")
        answer = self._session.predict(Ask(task, array_of(x, "x"), own, at))
        return like(answer.y, x)

    def module(self, task: str | None = None, at: Literal["memory", "meta"] = "memory") -> nn.Module:
        """A plain module of its own: at the task's memory, or ("meta", or without a task) at w.

        Raises:
            NoAnswer: the task has no memory.
        """
        return module_at(self._session.engine, None if at == "meta" else task)

    def save(self, directory: str | Path) -> None:
        """Write the state: a directory from which a daemon, or `load`, goes on.

        Raises:
            StateLocked: a daemon writes there.
            StateError: the directory holds another state.
        """
        self._homes.write(Path(directory), self._session.commit())

    def set_rates(self, inner_lr: float | None = None, meta_lr: float | None = None) -> None:
        """Use these learning rates from the next event on."""
        engine = self._session.engine
        engine.set_rates(
            engine.inner_lr if inner_lr is None else inner_lr, engine.meta_lr if meta_lr is None else meta_lr
        )

    @property
    def events(self) -> int:
        """Events learned in the life of the state."""
        return self._session.events

    def history(self) -> "pd.DataFrame":
        """The curves so far by the number of events; needs pandas (extra `notebook`)."""
        return frame_of(self._session.history)

    def plot(self) -> "Figure":
        """The prequential losses so far; needs matplotlib (extra `notebook`)."""
        return picture_of(self._session.history, f"loss ({self._session.config.model.loss})")

    def _repr_html_(self) -> str:
        return html_of(self._facts())

    def __repr__(self) -> str:
        return f"Learner({', '.join(f'{name}={value!r}' for name, value in self._facts().items())})"

    def _facts(self) -> dict[str, object]:
        config, engine = self._session.config, self._session.engine
        means = engine.progress.prequential
        return {
            "model": config.model.factory,
            "parameters": engine.network.dimension,
            "algorithm": config.algorithm.name,
            "events": engine.progress.events,
            "loss_meta": means.meta.mean,
            "loss_adapted": means.adapted.mean,
            "loss_memory": means.memory.mean,
        }
