"""SIGHUP: a configuration is taken over only when it would be accepted, as a whole, at the next start.

Taken are log level and learning rates; what else changed waits for that start. What can be tried beside a
learner that runs is tried; a change that only a start can try (another model) is refused.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from streammeta.config import Config, differences, fit
from streammeta.errors import ConfigError, StateError
from streammeta.models.loading import usable_device
from streammeta.observe.logs import configure_logging
from streammeta.programs.doctor.local import of_state
from streammeta.programs.tried import file_lines
from streammeta.runtime.compiling import compiled_steps_cache
from streammeta.runtime.controls import Rates
from streammeta.web.server import listen

_TAKEN = {"log": {"level"}, "algorithm": {"inner_lr"}, "outer": {"lr"}}
_OTHER_STATE = "restore them, or set state.dir to a new directory"


def reloaded(config: Config, read_config: Callable[[], Config]) -> Rates | None:
    """The learning rates of the file as it is now, its log level set; None where it is refused, as is told.

    Args:
        config: What the process began with.
        read_config: Reads it again.
    """
    logger = structlog.get_logger()
    try:
        new = read_config()
        check_next_start(config, new)
    except (ConfigError, StateError) as error:
        logger.warning("configuration not reloaded: the next start would refuse it", reason=str(error))
        return None
    configure_logging(new.log.level, config.log.format)
    rates = Rates(new.algorithm.inner_lr, new.outer.lr)
    logger.info(
        "configuration reloaded", inner_lr=rates.inner_lr, meta_lr=rates.meta_lr, log_level=new.log.level
    )
    changed = _changed(config, new)
    if changed:
        logger.warning("changed settings wait for the next start", settings=", ".join(changed))
    return rates


def check_next_start(config: Config, new: Config) -> None:
    """Refuse what the next start would refuse.

    Raises:
        ConfigError: names every problem, a line each.
        StateError: the state does not fit.
    """
    problems = [*_state_problems(config, new), *_setting_problems(config, new)]
    if problems:
        raise ConfigError("\n".join(problems))


def _state_problems(config: Config, new: Config) -> Iterator[str]:
    """Settings that belong to the state, or another state that does not fit."""
    lines = differences(fit(config), fit(new))
    if _same(config.state.dir, new.state.dir):
        yield from (f"{line}; {_OTHER_STATE}" for line in lines)
        return
    if any(line.startswith("model.") for line in lines):
        yield "model: another one is tried at a start alone; see `streammeta config check`, then start anew"
    checks = of_state(new, None)
    try:
        while True:
            check = next(checks)
            if check.verdict == "fault":
                yield check.words
    except StopIteration as end:
        found = end.value
    if found is not None:
        yield from (f"{line}; {_OTHER_STATE}" for line in differences(found.origin.fit, fit(new)))


def _setting_problems(config: Config, new: Config) -> Iterator[str]:
    """Files, addresses and devices that cannot be had."""
    for trial in (_try_files, _try_address, _try_device, _try_compiler):
        try:
            trial(config, new)
        except ConfigError as error:
            yield str(error)


def _try_files(_: Config, new: Config) -> None:
    for _line in file_lines(new):
        pass
    if new.model.init and not new.state.dir.exists() and not Path(new.model.init).is_file():
        raise ConfigError(f'model.init = "{new.model.init}": no such file; name one, or leave the key empty')


def _try_address(config: Config, new: Config) -> None:
    """The port that this process has is free at the next start."""
    if (config.http.host, config.http.port) != (new.http.host, new.http.port):
        port = new.http.port if new.http.port != config.http.port else 0
        listen(new.http.host, port).close()


def _try_device(config: Config, new: Config) -> None:
    if new.model.device != config.model.device:
        usable_device(new.model.device)


def _try_compiler(config: Config, new: Config) -> None:
    if new.engine.compile == "require" and new.engine != config.engine:
        compiled_steps_cache(new)


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()


def _changed(config: Config, new: Config) -> list[str]:
    """The settings in which two configurations differ, less those that a reload takes."""
    before, after = (each.model_dump(exclude=_TAKEN) for each in (config, new))
    return [
        f"{section}.{key}"
        for section, table in after.items()
        for key in table
        if before[section].get(key) != table[key]
    ]
