"""From the texts of a request to rows of token ids, and from the rows' outputs back to texts."""
