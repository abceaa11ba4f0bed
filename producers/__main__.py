"""What writes Kafka, from a checkout: `python -m producers sinusoid …` is `streammeta produce sinusoid …`.

Streams of tasks are in `streammeta.datasets`, what sends them in `streammeta.sending`: installed at the top
of site-packages, a package called `producers` would hide a user's own.
"""

import sys

from streammeta.__main__ import program

if __name__ == "__main__":
    sys.argv.insert(1, "produce")
    program()
