"""Models that think before they answer: which markers they write, and what of a reply is thought. Pure."""
