"""What holds for all tests."""

import os

from hypothesis import settings

# A compiler beside every daemon that a test starts would take the processors from all the others.
os.environ["STREAMMETA_ENGINE__COMPILE"] = "off"

# A loaded machine is slow, not wrong.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
