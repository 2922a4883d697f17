"""All code that relies on private parts of Textual.

Each module says what it works around, in which version of Textual, and when it can be removed. Each has its own test
in tests/ui/textual_fixes, and tests/ui/textual_fixes/test_private_parts.py checks that no other code does so.
"""
