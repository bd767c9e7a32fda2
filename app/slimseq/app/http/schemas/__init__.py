"""Bodies of requests and answers, as the HTTP contract has them, one file a family of endpoints."""
