"""What leans on private parts of Textual: each piece says what it works around, and when it may go."""
