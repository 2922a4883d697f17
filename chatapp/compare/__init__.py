"""Two windows on one text: measured one after the other, then laid side by side. No widget, no terminal."""
