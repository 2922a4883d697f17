"""A scripted engine that speaks the real protocol, for tests of the interface and for pictures of it."""
