"""The command that decides: costs, losses, search and choice of a smaller model."""
