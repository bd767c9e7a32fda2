"""The artifact: its manifest, its files, its verification and its signature."""
