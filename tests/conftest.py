"""What holds for all tests."""

import os

# A compiler beside every daemon that a test starts would take the processors from all the others.
os.environ["STREAMMETA_ENGINE__COMPILE"] = "off"
