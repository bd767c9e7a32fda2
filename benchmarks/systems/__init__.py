"""What is measured: servers, peers in process, models with random weights."""
