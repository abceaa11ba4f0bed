"""What the verbs run: each module wires a source, the engine, a store and observers."""
