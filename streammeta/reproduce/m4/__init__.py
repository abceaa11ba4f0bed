"""M4 by the way of a user: table, broker, recording, the daemon's own loop."""
