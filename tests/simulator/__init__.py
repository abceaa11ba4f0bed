"""The whole runtime over a simulated broker, disk and clock, all from one seed; see `README.md`."""
