"""The report: an HTML page, plots and the README's tables, made from the manifests of a store."""
