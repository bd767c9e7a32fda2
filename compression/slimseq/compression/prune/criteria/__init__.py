"""What makes a part important, one criterion a file: each has `score`, and its name in `options.CriterionName`."""
