"""The HTTP port: metrics, probes, API."""
