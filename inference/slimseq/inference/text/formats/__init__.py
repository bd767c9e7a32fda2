"""HTML and Markdown: their texts, and the same markup with other texts in their place. It knows no model."""
