"""Which route should be in which pool, from what was measured."""
