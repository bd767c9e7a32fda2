"""The report: Markdown tables, made from the manifests of a store."""
