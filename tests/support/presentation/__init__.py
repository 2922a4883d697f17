"""Events, looks and slow twins for tests of what is shown."""
