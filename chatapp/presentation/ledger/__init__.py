"""The history of the cache: what is entered for each event, and how it reads."""
