"""The artifact: its format, its verification, and opening it to generate text."""
