"""Two windows on one text: measured one after the other, shown side by side. No widget, no terminal."""
