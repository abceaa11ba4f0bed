"""How a step is computed: eager, as a traced graph, or as machine code; and the cache of compiled steps."""
