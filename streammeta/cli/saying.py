"""What verbs say: text for people, or JSON, with nothing in it that would steer a terminal."""

import click

from streammeta.quoting import quoted


def say(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print; as `click.echo`."""
    click.echo(quoted(str(text)), err=err, nl=nl)
