"""What leans on private parts of Textual, and nothing else does.

Each piece says what it works around, in which version of Textual, and when it may go. Each has a test of its own in
tests/ui/textual_fixes, and tests/ui/textual_fixes/test_private_parts.py holds that there is no other.
"""
