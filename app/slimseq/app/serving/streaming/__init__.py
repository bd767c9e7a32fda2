"""From generated tokens to Server-Sent Events."""
