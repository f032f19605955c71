"""A synthetic, signed organization trail: serves the demo, the tests and the benchmarks."""
