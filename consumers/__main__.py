"""What reads Kafka, from a checkout: `python -m consumers --config F` is `streammeta run --config F`.

The programs are in `streammeta.programs`: installed at the top of site-packages, a package called
`consumers` would hide a user's own.
"""

import sys

from streammeta.__main__ import program

if __name__ == "__main__":
    sys.argv.insert(1, "run")
    program()
