"""The proof: a page, plots and the README's tables, all from what the manifests record."""
