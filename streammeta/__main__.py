"""`python -m streammeta`."""

from streammeta.cli import main

main(prog_name="streammeta")
