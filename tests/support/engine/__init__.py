"""Real engines in tests: as a process, in the test itself, and beside plain twins."""
