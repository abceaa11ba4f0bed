"""Champion and challengers, without a broker."""
