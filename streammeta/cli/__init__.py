"""The command line: `streammeta VERB`. Thin: each verb parses its options and calls the library."""

from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from streammeta.cli.saying import say
from streammeta.errors import StreammetaError
from streammeta.quoting import quoted


class Verb(NamedTuple):
    """Where a verb's command is, and what it does in a line."""

    module: str
    name: str
    summary: str


VERBS: Final = {
    verb.name: verb
    for verb in (
        Verb("quickstart", "quickstart", "A broker, a producer and the learner, on this machine alone."),
        Verb("doctor", "doctor", "What fits and what does not, before it runs."),
        Verb("run", "run", "The daemon: learn from a topic."),
        Verb("record", "record", "Keep a topic in files."),
        Verb("replay", "replay", "Learn from a recording, or put it back on a topic."),
        Verb("produce", "produce", "Write streams of tasks to a topic."),
        Verb("state", "tasks", "What is known of each task."),
        Verb("state", "export", "Meta-parameters and memories as safetensors."),
        Verb("predict", "predict", "Predictions of a state, a line each."),
        Verb("serve", "serve", "Predictions and the page of a state that another process writes."),
        Verb("promote", "promote", "A challenger's state becomes the champion's."),
        Verb("checkpoint", "checkpoint", "Kept copies of a state; whether it is sound."),
        Verb("report", "report", "A run as one page or picture, for sharing."),
        Verb("status", "status", "What a running daemon says of itself."),
        Verb("dlq", "dlq", "Dead letters: look at them, put them back."),
        Verb("evaluate", "evaluate", "Score a state on unseen tasks."),
        Verb("config", "config", "Write, check and show configuration."),
        Verb("compile", "compile", "Steps as machine code, ahead of time."),
        Verb("dashboards", "dashboards", "Grafana dashboards, Prometheus rules and alerts."),
        Verb("bench", "bench", "Measure this machine."),
        Verb("federated", "federated", "Learn across clients that keep their data, as a Flower app."),
        Verb("reproduce", "reproduce", "Run the papers' experiments again."),
    )
}
"""Imported when used, so that `--help` does not wait for torch."""


class Root(click.Group):
    """Imports verbs on demand, and turns the error tree into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click)
        """The verbs, in the order in which people meet them."""
        return [*VERBS]

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        """The verb's command; a misspelt one is refused with the nearest named."""
        verb = VERBS.get(cmd_name)
        if verb is None:
            if not ctx.resilient_parsing:  # shell completion asks for what may not be there
                from streammeta.config.suggest import did_you_mean

                ctx.fail(f"No such command {cmd_name!r}{did_you_mean(cmd_name, VERBS) or '.'}")
            return None
        command: click.Command = getattr(import_module(f"streammeta.cli.{verb.module}"), verb.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click)
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb.name, verb.summary) for verb in VERBS.values()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            plain = error.format_message()
            if quoted(plain) == plain:
                raise
            raise click.UsageError(quoted(plain), error.ctx) from None
        except StreammetaError as error:
            say(f"streammeta: {error}", err=True)
            ctx.exit(error.exit_code)


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="streammeta")
def main() -> None:
    """Continual meta-learning on Kafka streams."""
