"""One conversation: its template, its turns and branches, and the replies."""
