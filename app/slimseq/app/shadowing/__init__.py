"""Shadowing: live requests that a reference variant answers again, and the agreement."""
