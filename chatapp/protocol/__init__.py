"""What crosses the pipe between the interface and the engine: commands, events, their values, and the codec."""
